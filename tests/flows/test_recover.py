"""How `recover` ends: what it starts again, and what it leaves to whom."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelling, Crashed, Running, Suspended

from flows import recover as module
from flows.recover import recover
from flows.tag import TAG
from tests.flows import quick

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    with quick.server(tmp_path_factory.mktemp("recover")), get_client(sync_client=True) as found:
        yield found


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the heart of what is dead in any case."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(module, "SECONDS_UNTIL_WRITTEN", 1.0)


@flow(name="train")
def train() -> None:
    pass


@pytest.fixture
def crashed(client: SyncPrefectClient) -> FlowRun:
    """A run of a deployment that was started once and crashed."""
    deployed = client.create_deployment(client.create_flow(train), "on-demand", tags=[TAG])
    return ended(client, client.create_flow_run_from_deployment(deployed).id, Running())


def ended(client: SyncPrefectClient, run: UUID, was: State[None]) -> FlowRun:
    """A run that crashed when it was in that state."""
    for state in (was, Crashed()):
        client.set_flow_run_state(run, state, force=True)
    return client.read_flow_run(run)


def ending(run: UUID, attempts: int = 3) -> tuple[str, str]:
    state: Any = recover(run, attempts, return_state=True)
    return str(state.name), str(state.message)


def test_a_crashed_run_is_scheduled_again_as_the_same_run(
    client: SyncPrefectClient, crashed: FlowRun
) -> None:
    assert ending(crashed.id) == (
        "Scheduled again",
        f"{crashed.name} goes on where it stopped",
    )
    again = client.read_flow_run(crashed.id)
    assert again.state is not None
    assert again.state.name == "AwaitingRetry"
    assert again.parameters == crashed.parameters
    # told once more: it is no longer crashed
    assert ending(crashed.id)[1] == f"{crashed.name} has not crashed: nothing to do"


def test_one_that_crashes_again_and_again_is_left_to_a_person(
    client: SyncPrefectClient, crashed: FlowRun
) -> None:
    assert ending(crashed.id, attempts=1) == (
        "GivenUp",
        f"{crashed.name} crashed once: look at it, then retry it",
    )
    state = client.read_flow_run(crashed.id).state
    assert state is not None
    assert state.is_crashed()


def test_what_only_seemed_dead_was_not_started_again(
    client: SyncPrefectClient, crashed: FlowRun
) -> None:
    for _ in range(3):  # a server that is away looks like that
        ended(client, crashed.id, Running())
    assert ending(crashed.id, attempts=2)[0] == "Scheduled again"
    ended(client, crashed.id, Running())
    told = f"{crashed.name} crashed 2 times: look at it, then retry it"
    assert ending(crashed.id, attempts=2) == ("GivenUp", told)


def test_of_two_that_are_told_of_one_crash_one_acts(
    client: SyncPrefectClient, crashed: FlowRun
) -> None:
    with ThreadPoolExecutor() as pool:
        both = [pool.submit(copy_context().run, ending, crashed.id) for _ in range(2)]
    acted = [each.result() for each in both if each.result()[0] == "Scheduled again"]
    assert len(acted) == 1
    state = client.read_flow_run(crashed.id).state
    assert state is not None
    assert state.name == "AwaitingRetry"


def test_runs_that_nobody_deployed_and_those_of_others_are_left_alone(
    client: SyncPrefectClient,
) -> None:
    ours = ended(client, client.create_flow_run(train, tags=[TAG]).id, Running())
    assert ending(ours.id)[1] == f"{ours.name} has no deployment: start it again by hand"
    theirs = ended(client, client.create_flow_run(train).id, Running())
    assert ending(theirs.id)[1] == f"{theirs.name} is no run of ganpipe: nothing to do"
    for run in (ours, theirs):
        assert client.read_flow_run(run.id).state == run.state


def test_one_that_a_person_cancelled_does_not_start_again(
    client: SyncPrefectClient, crashed: FlowRun
) -> None:
    ended(client, crashed.id, Cancelling())
    client.set_flow_run_state(crashed.id, Crashed(), force=True)  # told by two
    told = f"{crashed.name} was being cancelled, and is Cancelled now"
    assert ending(crashed.id) == ("Completed", told)
    state = client.read_flow_run(crashed.id).state
    assert state is not None
    assert state.name == "Cancelled"


def test_one_that_waited_for_a_person_waits_on(client: SyncPrefectClient, crashed: FlowRun) -> None:
    ended(client, crashed.id, Suspended(timeout_seconds=600))
    assert ending(crashed.id) == ("Waits", f"{crashed.name} waits for a decision, as before")
    state = client.read_flow_run(crashed.id).state
    assert state is not None
    assert state.name == "Suspended"
