"""Slots of a machine's devices: as many runs train or evaluate at once as it has devices.

`ganpipe deploy` makes the limits. A slot is leased: a holder that was killed loses it within
LEASE_SECONDS, and a Prefect server that is away for some minutes takes it from nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment

from flows.lease import ask, leased, logger
from flows.limits import LEASE_SECONDS, Kind, free_leaks, limit_name
from ganpipe.errors import GanpipeError


@contextmanager
def slot(
    kind: Kind,
    devices: int = 1,
    needless: Callable[[], bool] = lambda: False,
    waits: Callable[[str], None] = lambda told: None,
) -> Iterator[bool]:
    """Hold a slot of this machine for each device; wait as long as it takes, and say so.

    Where too many are taken and `needless()` says that no device will be used, nobody waits, and
    it yields False. A run without a deployment needs no slot where the server has no such limit.
    Raises GanpipeError where a deployment's server has none or too few, or does not answer.
    """
    name = limit_name(kind)
    limit = ask(f"the slots of {name}", lambda client: _limit(client, name))
    if limit is None:
        yield True
        return
    if 0 < limit.limit < devices:  # 0 lets nobody in for now
        raise GanpipeError(
            f"train.devices={devices}, but Prefect's limit {name} has {limit.limit} in all: set "
            "train.devices to that or less, or the limit to the number of devices"
        )
    if limit.active_slots + devices > limit.limit:
        if needless():
            yield False
            return
        waits(f"waits for {'a slot' if devices == 1 else f'{devices} slots'} of {name}")
    with leased(name, devices, LEASE_SECONDS, _freeing(name)):
        yield True


def _freeing(name: str) -> Callable[[float], None]:
    """What a waiting run does: now and then it frees slots that only a reconciler can."""
    looked = -math.inf

    def look(waited: float) -> None:
        nonlocal looked
        if waited - looked >= LEASE_SECONDS:
            looked = waited
            for told in ask(f"the slots of {name}", lambda client: list(free_leaks(client))):
                logger().info(told)

    return look


def _limit(client: SyncPrefectClient, name: str) -> GlobalConcurrencyLimitResponse | None:
    """None where no slot is needed."""
    try:
        limit = client.read_global_concurrency_limit_by_name(name)
    except ObjectNotFound:
        if deployment.id is None:
            return None
        raise GanpipeError(
            f"the Prefect server at {client.api_url} has no limit {name}, which keeps runs of "
            "this machine from taking the same device: make it with `ganpipe deploy` here"
        ) from None
    # one that somebody paused lets everybody pass
    return limit if limit.active else None
