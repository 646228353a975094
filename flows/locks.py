"""The lock under which champions change where several machines share a registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound

from flows.lease import ACQUIRED, ask, leased, make_for_one
from ganpipe.errors import GanpipeError

LIMIT = "ganpipe-promotion"
# the shortest that Prefect grants: so long a killed holder keeps others waiting
LEASE_SECONDS = 60.0
# longer than a lease, and Prefect's 15 s until it looks for dead ones
PATIENCE_SECONDS = 150.0


def make_limit() -> None:
    """Create the limit on the Prefect server, or set it to one slot again."""
    with get_client(sync_client=True) as client:
        make_for_one(client, LIMIT)


@contextmanager
def promotion_lock(seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the one slot of the limit; whoever comes meanwhile waits up to `seconds`.

    A holder that was killed loses it within 75 s. Raises GanpipeError when the limit does not
    exist or lets more than one in, when Prefect does not answer, and when the slot stays taken.
    """
    ask(f"the lock {LIMIT}", _check)

    def waits(waited: float) -> None:
        if waited > seconds:
            raise GanpipeError(
                f"the lock {LIMIT} has been held for {seconds:g} s{_holder()}: let that end and "
                "try again; if nobody is promoting (a Prefect server that was restarted in the "
                f"middle forgets to free it), free it with `prefect gcl update {LIMIT} "
                "--active-slots 0`"
            )

    with leased(LIMIT, 1, LEASE_SECONDS, waits) as lease:
        yield
        if lease.lost:
            raise GanpipeError(
                f"the lock {LIMIT} was lost while Prefect was away, and somebody else may have "
                "changed the champion at the same time: `ganpipe history` shows what came of both"
            )


def _check(client: SyncPrefectClient) -> None:
    """Prefect lets everybody pass where a limit is missing or paused, with a warning at most."""
    try:
        limit = client.read_global_concurrency_limit_by_name(LIMIT)
    except ObjectNotFound:
        raise GanpipeError(
            f"the Prefect server at {client.api_url} has no lock {LIMIT}: make it with "
            "`ganpipe deploy`"
        ) from None
    if not limit.active or limit.limit != 1:
        now = f"lets {limit.limit} in at once" if limit.active else "is paused"
        raise GanpipeError(f"the lock {LIMIT} {now}: `ganpipe deploy` mends it")


def _holder() -> str:
    """Which flow run took the slot last; nothing where that is not known, as of a command."""
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(LIMIT)
            event = _last_acquired(client, limit)
        except (ObjectNotFound, httpx.HTTPError):
            return ""  # the time-out itself matters more than who caused it
    named = [
        each.name or each.id
        for each in (event.related if event is not None else ())
        if each.role == "flow-run"
    ]
    return f" by the flow run {named[0]}" if named else ""


def _last_acquired(client: SyncPrefectClient, limit: GlobalConcurrencyLimitResponse) -> Any:
    wanted = EventFilter(
        event=EventNameFilter(name=[ACQUIRED]),
        resource=EventResourceFilter(id=[f"prefect.concurrency-limit.{limit.id}"]),
    )
    return next(iter(client.read_events(wanted, limit=1).events), None)
