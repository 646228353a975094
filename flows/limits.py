"""The slots of this machine on a Prefect server: made, sized, and freed of the dead."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.client.schemas.events import EventPage
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.events import Event, emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound

Kind = Literal["gpu", "cpu"]
# a restart of the server is outlived, and whoever waits for a dead holder waits for minutes
LEASE_SECONDS = 600.0
ACQUIRED = "prefect.concurrency-limit.acquired"
RELEASED = "prefect.concurrency-limit.released"
FREED = "ganpipe.slot.freed"
# not that of promotions: commands hold it, too, and no event tells of them
OURS = ("gpu:", "cpu:", "ganpipe-retrain:")
SECONDS_UNTIL_WRITTEN = 8.0  # the server writes events down every 5 s
PAGE = 50  # the most events that the server tells at once, and limits
GPUS = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Leak:
    """A slot that stays taken although its holder ended longer ago than a lease lasts."""

    limit: str
    run: FlowRun


def limit_name(kind: Kind, host: str = "") -> str:
    """The limit for devices of a machine (default: this one), like `gpu:alice`."""
    return f"{kind}:{host or socket.gethostname()}"


def size_slots(client: SyncPrefectClient, replace: bool = False) -> Iterator[str]:
    """Make the limits of this machine; a size that somebody chose stays, unless `replace`.

    One slot for each GPU; one for trainings on the CPU, since two that share the same cores slow
    each other down more than twofold. Yields a line for each thing done or found.
    """
    sizes = {limit_name("cpu"): 1}
    # in a process of its own: `make ui` goes on for days, and needs no torch in memory
    told = subprocess.run([sys.executable, "-c", GPUS], capture_output=True, text=True, check=True)
    if gpus := int(told.stdout):
        sizes[limit_name("gpu")] = gpus
    for name, size in sizes.items():
        try:
            found = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=name, limit=size)
            )
            yield f"made the limit {name} with {_slots(size)}"
            continue
        if found.limit == size and found.active:
            continue
        now = f"{_slots(found.limit)}{'' if found.active else ', paused'}"
        if replace:
            client.update_global_concurrency_limit(
                name, GlobalConcurrencyLimitUpdate(limit=size, active=True)
            )
            yield f"replaced the limit {name}: {_slots(size)} (was {now})"
        else:
            yield f"kept the limit {name}: {now} (this machine: {_slots(size)})"


def _slots(count: int) -> str:
    return f"{count} slot{'s' * (count != 1)}"


def free_leaks(client: SyncPrefectClient) -> Iterator[str]:
    """Free what `leaks` finds twice, so that no slot is taken from a holder that just came."""
    first = [(each.limit, each.run.id) for each in leaks(client)]
    if not first:
        return
    time.sleep(SECONDS_UNTIL_WRITTEN)
    for leak in leaks(client):
        if (leak.limit, leak.run.id) not in first:
            continue
        client.release_concurrency_slots([leak.limit], 1, occupancy_seconds=0.1)
        limit = client.read_global_concurrency_limit_by_name(leak.limit)
        emit_event(
            FREED,
            {"prefect.resource.id": _resource(limit), "prefect.resource.name": leak.limit},
            related=[
                {
                    "prefect.resource.id": f"prefect.flow-run.{leak.run.id}",
                    "prefect.resource.role": "flow-run",
                }
            ],
        )
        yield f"freed a slot of {leak.limit}, held by the flow run {leak.run.name}, which has ended"


def leaks(client: SyncPrefectClient) -> list[Leak]:
    """Slots of ganpipe's limits that nothing but a reconciler frees.

    Prefect frees those of a killed holder when its lease ends; not where the lease itself was
    lost, as by a server that keeps leases in memory and was started again.
    """
    found: list[Leak] = []
    for limit in _limits(client):
        if limit.active_slots and limit.name.startswith(OURS):
            holders = _holders(client, limit)
            dead = [run for run in holders if _ended_long_ago(run)]
            too_many = limit.active_slots - (len(holders) - len(dead))
            found += [Leak(limit.name, run) for run in dead[: max(0, too_many)]]
    return found


def _limits(client: SyncPrefectClient) -> Iterator[GlobalConcurrencyLimitResponse]:
    first = 0
    while page := client.read_global_concurrency_limits(limit=PAGE, offset=first):
        yield from page
        first += len(page)


def _holders(client: SyncPrefectClient, limit: GlobalConcurrencyLimitResponse) -> list[FlowRun]:
    """The flow runs that took a slot and gave none back, whether they live or not."""
    wanted = EventFilter(
        event=EventNameFilter(name=[ACQUIRED, RELEASED, FREED]),
        resource=EventResourceFilter(id=[_resource(limit)]),
    )
    last: dict[str, str] = {}
    page: EventPage | None = client.read_events(wanted, limit=PAGE)
    while page is not None:
        for event in page.events:  # the newest first
            for run in _runs(event):
                last.setdefault(run, event.event)
        page = page.get_next_page_sync(client)
    found = []
    for run, event_name in last.items():
        if event_name != ACQUIRED:
            continue
        try:
            found.append(client.read_flow_run(UUID(run)))
        except ObjectNotFound:
            continue  # deleted by hand or by housekeeping: nothing tells when it ended
    return found


def _runs(event: Event) -> list[str]:
    return [
        each.id.removeprefix("prefect.flow-run.")
        for each in event.related
        if each.role == "flow-run"
    ]


def _ended_long_ago(run: FlowRun) -> bool:
    if run.state is None or not run.state.is_final():
        return False
    ago = datetime.now(UTC) - run.state.timestamp
    return ago > timedelta(seconds=LEASE_SECONDS + 60)


def _resource(limit: GlobalConcurrencyLimitResponse) -> str:
    return f"prefect.concurrency-limit.{limit.id}"
