"""Slots: one holder at a time, waited for and given back; a lost server takes no work with it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import lease as leases
from flows import one_retraining
from flows.lease import ACQUIRED, SLOTS, Lease, leased
from flows.limits import SECONDS_UNTIL_WRITTEN, limit_name
from flows.prefect_server import settings, shared_server
from flows.slots import slot
from ganpipe import workspace
from ganpipe.errors import GanpipeError
from tests.flows.deployed import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HOLD = """
import sys
from prefect import flow
from flows.one_retraining import alone
from flows.slots import slot

model = sys.argv[1]

@flow(name="retrain", flow_run_name=f"retrain {model} from another process")
def hold():
    with slot("gpu"), alone(model):
        print("held", flush=True)
        sys.stdin.readline()
    print("freed", flush=True)

hold()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A Prefect server with a home of its own: the state folder and its address."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        with shared_server(state) as url, temporary_settings({PREFECT_API_URL: url}):
            yield state, url


@pytest.fixture
def limit(server: tuple[Path, str]) -> Iterator[str]:
    """The limit of this machine's one GPU."""
    name = limit_name("gpu")
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        yield name
        client.delete_global_concurrency_limit_by_name(name)


def taken(name: str) -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).active_slots


@pytest.fixture
def holder(
    server: tuple[Path, str], limit: str, repository_root: Path, request: pytest.FixtureRequest
) -> Iterator[subprocess.Popen[str]]:
    """A flow run in another process: until it reads a line it holds the slot, and retrains alone.

    The model that it retrains has the name of the test.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, request.node.name],
        cwd=repository_root,
        env={**workspace.environment(repository_root), **settings(*server)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("server")
def test_only_a_deployed_run_needs_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    with slot("gpu"):
        pass
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment")
    told = rf"no limit {limit_name('gpu')}.*`ganpipe deploy`"
    with pytest.raises(GanpipeError, match=told), slot("gpu"):
        pytest.fail("let in")


def test_a_slot_stands_for_a_device_and_more_than_there_are_is_refused(limit: str) -> None:
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate(limit=3))
    with slot("gpu", 2):
        assert taken(limit) == 2
        with slot("gpu", 1):
            assert taken(limit) == 3
        with slot("gpu", 2, needless=lambda: True) as held:
            assert not held
    told = rf"train.devices=4, but Prefect's limit {limit} has 3 in all"
    with pytest.raises(GanpipeError, match=told), slot("gpu", 4):
        pytest.fail("let in")


def test_a_lease_that_was_lost_is_taken_anew_as_soon_as_others_leave(limit: str) -> None:
    with leased(limit, 1, 60.0) as lease, get_client(sync_client=True) as client:
        assert lease.id is not None
        assert not lease.lost
        client.release_concurrency_slots_with_lease(lease.id)
        other = Lease(limit, 1, 60.0)
        assert other.take(client)
        wait_for(lambda: lease.lost)
        assert taken(limit) == 1
        other.give_back()
        wait_for(lambda: taken(limit) == 1, 30)
        assert lease.id is not None
    assert taken(limit) == 0


def test_a_lease_that_was_taken_too_late_is_given_back(limit: str) -> None:
    ended = threading.Event()

    class Late(Lease):
        def take(self, client: SyncPrefectClient) -> bool:
            ended.set()  # meanwhile nobody waited for it any longer
            self.give_back()
            return super().take(client)

    Late(limit, 1, 60.0).keep(ended)
    assert taken(limit) == 0


def test_a_holder_tells_again_and_again_how_many_slots_it_has(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "SECONDS_UNTIL_TOLD_AGAIN", 1.0)

    def told() -> list[str | None]:
        with get_client(sync_client=True) as client:
            place = client.read_global_concurrency_limit_by_name(limit).id
            wanted = EventFilter(
                event=EventNameFilter(name=[ACQUIRED]),
                resource=EventResourceFilter(id=[f"prefect.concurrency-limit.{place}"]),
            )
            return [
                event.resource.get(SLOTS) for event in client.read_events(wanted, limit=10).events
            ]

    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate(limit=2))
    with leased(limit, 2, 60.0):
        wait_for(lambda: len(told()) >= 2, 60)
    assert set(told()) == {"2"}


@pytest.mark.usefixtures("holder")
def test_a_second_retraining_is_not_let_in_where_the_first_lost_its_slot(
    request: pytest.FixtureRequest,
) -> None:
    model = request.node.name
    name = f"{one_retraining.LIMIT}:{model}"
    time.sleep(SECONDS_UNTIL_WRITTEN)
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))

    @flow(name="retrain")
    def second() -> None:
        with one_retraining.alone(model):
            pytest.fail("let in")

    told = f"another retraining of {model} is under way: retrain {model} from another process"
    with pytest.raises(one_retraining.BusyError, match=told):
        second()
    assert taken(name) == 0, "it gave the slot back, which the first takes anew"


def test_a_slot_is_taken_inside_and_free_after_an_exception(limit: str) -> None:
    @flow
    def fails() -> None:
        with slot("gpu"):
            assert taken(limit) == 1
            raise GanpipeError("training diverged")

    with pytest.raises(GanpipeError, match="diverged"):
        fails()
    assert taken(limit) == 0


def test_the_second_waits_says_so_and_a_cached_stage_does_not(
    limit: str, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []

    @flow
    def second() -> float:
        with slot("gpu", needless=lambda: True):  # its stage is cached
            pass
        began = time.monotonic()
        with slot("gpu", waits=said.append):
            return time.monotonic() - began

    assert holder.stdin is not None
    end = threading.Timer(6.0, lambda: holder.communicate("\n"))
    end.start()
    with caplog.at_level(logging.INFO):
        waited = second()
    end.join()
    assert 5.0 < waited < 60.0
    assert said == [f"waits for a slot of {limit}"]
    assert f"waits for a slot of {limit}: all are taken by other runs" in caplog.text


def test_a_server_that_is_lost_meanwhile_costs_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    done = False
    with shared_server(tmp_path / "other") as url, temporary_settings({PREFECT_API_URL: url}):
        name = limit_name("cpu")
        with get_client(sync_client=True) as client:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
        holding = slot("cpu")
        holding.__enter__()
    dead = {PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(dead):
        holding.__exit__(None, None, None)
        done = True
    assert done
    assert f"Prefect did not take a slot of {name} back" in caplog.text
    with (
        temporary_settings(dead),
        pytest.raises(GanpipeError, match="does not answer"),
        slot("cpu"),
    ):
        pytest.fail("let in")
