"""Slots of a machine's devices: as many runs train or evaluate at once as it has devices.

`ganpipe deploy` makes the limits. A slot is leased: a holder that was killed loses it within
LEASE_SECONDS, and a Prefect server that is away for some minutes takes it from nobody.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
)
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment

from ganpipe.errors import GanpipeError

Kind = Literal["gpu", "cpu"]
# Renewed when three quarters have passed, then asked for again for three minutes: a restart of
# the server is outlived, and whoever waits for a dead holder waits for minutes, not hours.
LEASE_SECONDS = 600.0
SECONDS_BETWEEN_LINES = 600.0


def limit_name(kind: Kind, host: str = "") -> str:
    """The limit for devices of a machine (default: this one), like `gpu:alice`."""
    return f"{kind}:{host or socket.gethostname()}"


@contextmanager
def slot(
    kind: Kind,
    needless: Callable[[], bool] = lambda: False,
    waits: Callable[[str], None] = lambda told: None,
) -> Iterator[None]:
    """Hold one of this machine's slots; wait for it as long as it takes, and say so.

    Where all are taken and `needless()` says that no device will be used, nobody waits. A run
    without a deployment needs no slot where the server has no such limit. Raises GanpipeError
    where a deployment's server has none, or does not answer.
    """
    name = limit_name(kind)
    free = _free(name)
    if free is None or (free <= 0 and needless()):
        yield
        return
    if free <= 0:
        get_run_logger().info("waits for a slot of %s: all are taken by other runs", name)
        waits(f"waits for a slot of {name}")
    holding = _acquired(name)
    try:
        yield
    finally:
        _give_back(holding, name)


def _free(name: str) -> int | None:
    """Slots that nobody holds; None where no slot is needed."""
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            if deployment.id is None:
                return None
            raise GanpipeError(
                f"the Prefect server at {client.api_url} has no limit {name}, which keeps runs of "
                "this machine from taking the same device: make it with `ganpipe deploy` here"
            ) from None
        except httpx.HTTPError as error:
            raise GanpipeError(
                f"the Prefect server at {client.api_url}, which keeps the slots of {name}, does "
                f"not answer ({error}): start it, or correct PREFECT_API_URL"
            ) from error
    # one that somebody paused lets everybody pass
    return max(0, limit.limit - limit.active_slots) if limit.active else None


def _acquired(name: str) -> AbstractContextManager[None]:
    while True:
        holding = concurrency(
            name,
            timeout_seconds=SECONDS_BETWEEN_LINES,
            lease_duration=LEASE_SECONDS,
            strict=True,
            # hours of training must not end because Prefect was away for longer than the lease
            raise_on_lease_renewal_failure=False,
        )
        try:
            holding.__enter__()
        except AcquireConcurrencySlotTimeoutError:
            get_run_logger().info("still waits for a slot of %s", name)
        except ConcurrencySlotAcquisitionError as error:
            raise GanpipeError(f"no slot of {name} can be had: {error}") from error
        else:
            return holding


def _give_back(holding: AbstractContextManager[None], name: str) -> None:
    try:
        holding.__exit__(*sys.exc_info())
    except httpx.HTTPError as error:
        # what was done under it must not be lost for that
        get_run_logger().warning(
            "Prefect did not take the slot of %s back (%s): it is free within %g s",
            name,
            error,
            LEASE_SECONDS,
        )
