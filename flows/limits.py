"""The slots of this machine on a Prefect server: made, sized, and freed of the dead."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
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

from flows.lease import ACQUIRED, RELEASED, SLOTS, leased, make_for_one
from ganpipe.errors import GanpipeError

Kind = Literal["gpu", "cpu"]
# a restart of the server is outlived, and whoever waits for a dead holder waits for minutes
LEASE_SECONDS = 600.0
FREED = "ganpipe.slot.freed"
# not that of promotions: commands hold it, too, and no event tells of them
OURS = ("gpu:", "cpu:", "ganpipe-retrain:")
RECONCILING = "ganpipe-slots"  # a limit: whoever has its slot frees those of the dead
SHORTEST_LEASE_SECONDS = 60.0  # that Prefect grants
SECONDS_UNTIL_WRITTEN = 8.0  # the server writes events down every 5 s
SKEW_SECONDS = 60.0  # the clocks of machines differ by no more
PAGE = 50  # the most events that the server tells at once, and limits
GPUS = "import torch; print(torch.cuda.device_count())"


@dataclass(frozen=True)
class Leak:
    """Slots that stay taken although their holder ended longer ago than a lease lasts."""

    limit: str
    run: UUID
    name: str
    slots: int


@dataclass(frozen=True)
class Holder:
    """A flow run that took slots of a limit at once."""

    run: FlowRun
    slots: int
    released: bool


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
    told = subprocess.run([sys.executable, "-c", GPUS], capture_output=True, text=True)
    if told.returncode != 0:
        last = (told.stderr.strip().splitlines() or [f"exit code {told.returncode}"])[-1]
        raise GanpipeError(
            f"the GPUs of this machine cannot be counted, since torch of {sys.executable} does "
            f"not work ({last}): install it again, then `ganpipe deploy`"
        )
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
    """Free what `leaks` finds twice; a line for each holder.

    One process at a time: a second one would take the slot that somebody took since for the dead
    one's.
    """
    if not leaks(client):
        return
    make_for_one(client, RECONCILING)
    try:
        with leased(RECONCILING, 1, SHORTEST_LEASE_SECONDS, _gives_up):
            yield from _free(client)
    except OccupiedError as busy:
        yield str(busy)


class OccupiedError(Exception):
    """Another process frees slots."""


def _gives_up(waited: float) -> None:
    if waited > 2 * SHORTEST_LEASE_SECONDS:
        raise OccupiedError(
            f"slots of the dead were not freed: another process holds {RECONCILING}; if none does, "
            f"free it with `prefect gcl update {RECONCILING} --active-slots 0`"
        )


def _free(client: SyncPrefectClient) -> Iterator[str]:
    first = leaks(client)
    # what is taken at this moment is told of by then, and what is taken later does not count
    taken = {each.name: each.active_slots for each in _limits(client)}
    if not first:
        return
    time.sleep(SECONDS_UNTIL_WRITTEN)
    found = [leak for leak in leaks(client, taken) if leak in first]
    for leak in found:
        _tell(client, leak)
    for leak in found:
        what = f"{'a slot' if leak.slots == 1 else _slots(leak.slots)} of {leak.limit}"
        whose = f"held by the flow run {leak.name}, which has ended"
        # freed before that is known, they could be freed twice: the second time those of another
        if _is_told(client, leak):
            client.release_concurrency_slots([leak.limit], leak.slots, occupancy_seconds=0.1)
            yield f"freed {what}, {whose}"
        else:
            yield f"did not free {what}, {whose}: the Prefect server wrote no event of it"


def _tell(client: SyncPrefectClient, leak: Leak) -> None:
    limit = client.read_global_concurrency_limit_by_name(leak.limit)
    run = {
        "prefect.resource.id": f"prefect.flow-run.{leak.run}",
        "prefect.resource.role": "flow-run",
    }
    emit_event(
        FREED,
        {"prefect.resource.id": _resource(limit), "prefect.resource.name": leak.limit},
        related=[run],
    )


def _is_told(client: SyncPrefectClient, leak: Leak) -> bool:
    limit = client.read_global_concurrency_limit_by_name(leak.limit)
    deadline = time.monotonic() + SHORTEST_LEASE_SECONDS
    while any(each.run.id == leak.run for each in holders(client, limit)):
        if time.monotonic() > deadline:
            return False
        time.sleep(1.0)
    return True


def leaks(client: SyncPrefectClient, taken: Mapping[str, int] | None = None) -> list[Leak]:
    """Slots of ganpipe's limits that nothing but a reconciler frees.

    Prefect frees those of a killed holder when its lease ends; not where the lease itself was
    lost, as by a server that keeps leases in memory and was started again. The events of both
    look the same, so a dead holder has a leak only where more slots are taken than the living
    have: all that it took, or nothing. What no event explains is somebody's.

    `taken`: how many slots of each limit were taken some seconds ago, when that was fewer.
    """
    found: list[Leak] = []
    for limit in _limits(client):
        if not limit.active_slots or not limit.name.startswith(OURS):
            continue
        known = holders(client, limit, released_within=SECONDS_UNTIL_WRITTEN + SKEW_SECONDS)
        dead = [each for each in known if not each.released and _ended_long_ago(each.run)]
        too_many = min(limit.active_slots, (taken or {}).get(limit.name, limit.active_slots))
        too_many -= sum(each.slots for each in known if each not in dead)
        for each in sorted(dead, key=lambda each: each.slots, reverse=True):
            if each.slots <= too_many:
                found.append(Leak(limit.name, each.run.id, each.run.name, each.slots))
                too_many -= each.slots
    return found


def _limits(client: SyncPrefectClient) -> Iterator[GlobalConcurrencyLimitResponse]:
    first = 0
    while page := client.read_global_concurrency_limits(limit=PAGE, offset=first):
        yield from page
        first += len(page)


def holders(
    client: SyncPrefectClient, limit: GlobalConcurrencyLimitResponse, released_within: float = 0.0
) -> list[Holder]:
    """The flow runs that took slots and gave none back, whether they live or not.

    With `released_within` also those that gave them back so many seconds ago.
    """
    wanted = EventFilter(
        event=EventNameFilter(name=[ACQUIRED, RELEASED, FREED]),
        resource=EventResourceFilter(id=[_resource(limit)]),
    )
    last: dict[str, Event] = {}
    event: Event
    page: EventPage | None = client.read_events(wanted, limit=PAGE)
    while page is not None:
        for event in page.events:  # the newest first
            for run in _runs(event):
                last.setdefault(run, event)
        page = page.get_next_page_sync(client)
    since = datetime.now(UTC) - timedelta(seconds=released_within)
    found = []
    for run, event in last.items():
        if event.event == FREED or (event.event == RELEASED and event.occurred < since):
            continue
        try:
            there = client.read_flow_run(UUID(run))
        except ObjectNotFound:
            continue  # deleted by hand or by housekeeping: nothing tells when it ended
        slots = int(event.resource.get(SLOTS) or 1)
        found.append(Holder(there, slots, event.event == RELEASED))
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
