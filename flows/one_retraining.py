"""One retraining of a model at a time, on whichever machine: a Prefect limit with one slot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run as runtime

from flows.lease import ask, leased, make_for_one
from flows.limits import LEASE_SECONDS

LIMIT = "ganpipe-retrain"
BANNED = str.maketrans("/%&<>", "-----")  # in names that Prefect takes
AT_WORK = [StateType.RUNNING, StateType.CANCELLING]


class BusyError(Exception):
    """Another run retrains the same model."""


def name_of(model: str) -> str:
    """What the names of a model's retrainings begin with."""
    return f"retrain {model}"


@contextmanager
def alone(model: str, lease: float = LEASE_SECONDS) -> Iterator[None]:
    """Hold the one slot of a model's limit, which is made where it is missing.

    Raises BusyError when another run is at work, though it lost the slot while Prefect was away;
    a holder that was killed is waited for until its lease ends. Raises GanpipeError when Prefect
    stays away.
    """
    name = f"{LIMIT}:{model}".translate(BANNED)
    what = f"the limit {name}, which lets in one retraining of {model} at a time,"

    def look() -> None:
        if other := ask(what, lambda client: _other(client, model)):
            raise BusyError(f"another retraining of {model} is under way: {other}")

    def waits(waited: float) -> None:
        look()
        if waited > lease + 60:  # Prefect looks for dead leases every 15 s
            raise BusyError(f"another retraining of {model} holds Prefect's limit {name}")

    ask(what, lambda client: make_for_one(client, name))
    with leased(name, 1, lease, waits):
        look()
        yield


def _other(client: SyncPrefectClient, model: str) -> str:
    """The name of a run at work on the same model that began before this one; empty: none."""
    own = client.read_flow_run(UUID(str(runtime.id)))
    found = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["retrain"])),
        flow_run_filter=FlowRunFilter(
            name=FlowRunFilterName(like_=f"{name_of(model)} from "),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=AT_WORK)),
        ),
    )
    for run in found:
        # of two that wait for a dead holder, one must not give way to the other
        if run.id != own.id and (run.start_time, run.id) < (own.start_time, own.id):
            return run.name
    return ""
