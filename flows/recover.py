"""The flow `recover`: a run whose process died is started again, where it stopped."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventResourceFilter,
)
from prefect.runtime import flow_run as runtime
from prefect.states import AwaitingRetry, Cancelled, Completed, Running
from pydantic import Field

from flows.signature import typed
from flows.tag import TAG

HEARTBEAT = "prefect.flow-run.heartbeat"
HEARTBEAT_SECONDS = 30  # as PREFECT_FLOWS_HEARTBEAT_FREQUENCY in infra/prefect.yaml
SECONDS_UNTIL_WRITTEN = 8.0  # the server writes events down every 5 s


@flow(name="recover", flow_run_name="go on with {flow_run}")
@typed
def recover(
    flow_run: UUID,
    attempts: Annotated[int, Field(ge=1, le=100, description="starts of a run, the first too")] = 3,
) -> Any:
    """Schedule a crashed run again, as the same run: same parameters, same pinned commit.

    infra/automations.yaml starts it. A run that only seemed dead, since Prefect's server was
    away, is set back to Running; one that was being cancelled is Cancelled. One that crashed
    `attempts` times is left to a person.
    """
    with get_client(sync_client=True) as client:
        crashed = client.read_flow_run(flow_run)
        if crashed.state is None or not crashed.state.is_crashed():
            return Completed(message=f"{crashed.name} has not crashed: nothing to do")
        if TAG not in crashed.tags:
            return Completed(message=f"{crashed.name} is no run of ganpipe: nothing to do")
        states = client.read_flow_run_states(flow_run)
        before = next((each for each in reversed(states) if not each.is_crashed()), crashed.state)
        if before.is_cancelling():
            # whoever was to write Cancelled died, or was not heard
            told = "cancelled; its process ended before it could say so"
            client.set_flow_run_state(flow_run, Cancelled(message=told), force=True)
            return Completed(message=f"{crashed.name} was being cancelled, and is Cancelled now")
        if crashed.deployment_id is None:
            return Completed(message=f"{crashed.name} has no deployment: start it again by hand")
        if before.is_paused():
            # a heartbeat that was told late looked like the last one
            client.set_flow_run_state(flow_run, before, force=True)
            return Completed(
                name="Waits", message=f"{crashed.name} waits for a decision, as before"
            )
        if _lives(client, flow_run, crashed.state.timestamp):
            client.set_flow_run_state(flow_run, Running(), force=True)
            return Completed(name="Alive", message=f"{crashed.name} runs: its heart beats again")
        # what was put back to Running or Suspended never stopped, and was not started again
        crashes = 1 + sum(
            state.is_crashed() and after.is_scheduled() for state, after in pairwise(states)
        )
        if crashes >= attempts:
            times = "once" if crashes == 1 else f"{crashes} times"
            told = f"{crashed.name} crashed {times}: look at it, then retry it"
            return Completed(name="GivenUp", message=told)
        first, now = _first(client), client.read_flow_run(flow_run)
        if not first or now.state is None or now.state.id != crashed.state.id:
            return Completed(message=f"another run looks after {crashed.name}")
        client.set_flow_run_state(flow_run, AwaitingRetry(), force=True)
    return Completed(name="Scheduled again", message=f"{crashed.name} goes on where it stopped")


def _lives(client: SyncPrefectClient, run: UUID, crashed: datetime) -> bool:
    """Whether it is heard of again within the time between two heartbeats.

    What it sent while the server was away arrives later, dated before: that tells nothing.
    """
    deadline = time.monotonic() + HEARTBEAT_SECONDS + SECONDS_UNTIL_WRITTEN
    while time.monotonic() < deadline:
        wanted = EventFilter(
            event=EventNameFilter(name=[HEARTBEAT]),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
            # made anew each time: it ends at the moment at which it was made
            occurred=EventOccurredFilter.model_validate({"since": crashed}),
        )
        if client.read_events(wanted, limit=1).events:
            return True
        time.sleep(2.0)
    return False


def _first(client: SyncPrefectClient) -> bool:
    """Whether no earlier run is at the same: a crash may be told twice."""
    same = FlowRunFilter(
        name=FlowRunFilterName(any_=[str(runtime.name)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
    )
    found = client.read_flow_runs(flow_run_filter=same)
    return bool(min(str(run.id) for run in found) == runtime.id)
