"""The shared lock lets one in, names who holds it, and outlives a killed holder."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from flows import locks
from flows.prefect_server import settings, shared_server
from ganpipe import workspace
from ganpipe.errors import GanpipeError
from tests.flows.deployed import wait_for

pytestmark = pytest.mark.integration

HOLD = """
import sys, time
from prefect import flow
from flows.locks import promotion_lock

@flow(flow_run_name="the holder")
def hold():
    with promotion_lock():
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
def limit(server: tuple[Path, str]) -> Iterator[None]:
    locks.make_limit()
    yield
    with get_client(sync_client=True) as client:
        client.delete_global_concurrency_limit_by_name(locks.LIMIT)


def holder(server: tuple[Path, str], code: Path) -> subprocess.Popen[str]:
    """A flow run in another process, which holds the lock until it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=code,
        env={**workspace.environment(code), **settings(*server)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.usefixtures("server")
def test_without_the_limit_nobody_is_let_in_and_the_way_out_is_named() -> None:
    told = r"has no lock ganpipe-promotion.*`ganpipe deploy`"
    with pytest.raises(GanpipeError, match=told), locks.promotion_lock():
        pytest.fail("let in")


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize(
    ("change", "told"), [({"active": False}, "is paused"), ({"limit": 2}, "lets 2 in at once")]
)
def test_a_limit_that_would_not_hold_others_off_is_refused_and_mended(
    change: dict[str, int], told: str
) -> None:
    with get_client(sync_client=True) as client:
        client.update_global_concurrency_limit(
            locks.LIMIT, GlobalConcurrencyLimitUpdate.model_validate(change)
        )
    told = f"{told}: `ganpipe deploy` mends it"
    with pytest.raises(GanpipeError, match=told), locks.promotion_lock():
        pytest.fail("let in")
    locks.make_limit()
    with locks.promotion_lock(seconds=5):
        pass


@pytest.mark.usefixtures("limit")
def test_the_second_waits_and_is_told_who_holds_the_lock(
    server: tuple[Path, str], repository_root: Path
) -> None:
    process = holder(server, repository_root)
    try:
        told = "held for 1 s"
        with pytest.raises(GanpipeError, match=told), locks.promotion_lock(seconds=1):
            pytest.fail("let in beside the holder")
        time.sleep(7)  # Prefect's server writes events down every 5 s
        told = "held for 1 s by the flow run the holder: let"
        locks.make_limit()  # a `ganpipe deploy` meanwhile frees nothing
        with pytest.raises(GanpipeError, match=told), locks.promotion_lock(seconds=1):
            pytest.fail("let in beside the holder")
        assert process.communicate("\n", timeout=60)[0] == "freed\n"
    finally:
        process.kill()
        process.wait()
    with locks.promotion_lock(seconds=20):
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("limit")
def test_a_killed_holder_keeps_others_waiting_for_little_more_than_its_lease(
    server: tuple[Path, str], repository_root: Path
) -> None:
    process = holder(server, repository_root)
    process.kill()
    process.wait()
    began = time.monotonic()
    with locks.promotion_lock():
        waited = time.monotonic() - began
    assert locks.LEASE_SECONDS - 10 < waited < locks.PATIENCE_SECONDS


@pytest.mark.slow
@pytest.mark.usefixtures("limit")
def test_whoever_lost_the_lock_meanwhile_is_told(
    server: tuple[Path, str], caplog: pytest.LogCaptureFixture
) -> None:
    told = "was lost while Prefect was away"
    with pytest.raises(GanpipeError, match=f"{told}.*`ganpipe history`"), locks.promotion_lock():
        for path in server[0].rglob("concurrency_leases/*-*.json"):
            path.unlink()
        wait_for(lambda: told in caplog.text)


def test_an_exception_inside_frees_the_lock_and_comes_through(limit: None) -> None:
    with pytest.raises(TimeoutError, match="mine"), locks.promotion_lock():
        raise TimeoutError("mine")
    with locks.promotion_lock(seconds=5):
        pass


def test_a_server_that_is_down_is_named(free_port: int) -> None:
    url = f"http://127.0.0.1:{free_port}/api"
    with (
        temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        pytest.raises(GanpipeError, match=f"{url}.* does not answer"),
        locks.promotion_lock(seconds=1),
    ):
        pytest.fail("let in")
