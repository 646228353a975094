"""A Prefect server that is killed and started again in mid-run: the run goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Running

from flows import services
from flows.prefect_server import command, settings, shared_server
from tests.flows.deployed import Deployed, make, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@contextmanager
def server(state: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that outlives nothing, as people start their own; killed at the end."""
    url = f"http://127.0.0.1:{port}/api"
    leases = "prefect.server.concurrency.lease_storage.filesystem"
    env = {**os.environ, **settings(state, url)}
    env["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] = leases
    del env["PREFECT_API_URL"]
    with (state / "server.log").open("ab") as log:
        started = subprocess.Popen(
            [*command("server", "start"), "--host", "127.0.0.1", "--port", str(port)],
            env=env,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: services.no_answer(f"{url}/health") is None, 120)
        yield started
    finally:
        started.kill()
        started.wait()


def test_a_run_outlives_its_server(
    tmp_path: Path, repository_root: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GANPIPE_STATE", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)
    made = make(tmp_path / "a repository", repository_root)
    made.state.mkdir(exist_ok=True)
    url = f"http://127.0.0.1:{free_port}/api"
    with temporary_settings({PREFECT_API_URL: url}):
        there = Deployed(made, url)
        with server(made.state, free_port) as first, there.worker():
            there.deploy()  # while the worker makes its pool
            there.hold()
            run = there.start("train/on-demand", train={"kimg": 10.0})
            there.wait_until_at_work()
            at_work = there.processes()
            first.kill()
            first.wait()
            with server(made.state, free_port):
                assert there.run(run).state.name == "Running"  # type: ignore[union-attr]
                assert there.processes() == at_work
                there.let_go()
                over = there.wait(run, lambda each: each.state.is_final(), 240)  # type: ignore[union-attr]
                assert over.state is not None
                assert (over.state.name, over.run_count) == ("Completed", 1)


def test_what_went_down_with_its_server_has_crashed_or_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    went_down = flow(name="train")(lambda: None)
    states = {"Crashed": Running(), "Cancelled": Cancelling()}
    runs = {}
    for attempt in range(2):
        with (
            shared_server(tmp_path) as url,
            temporary_settings({PREFECT_API_URL: url}),
            get_client(sync_client=True) as client,
        ):
            for name, state in states.items():
                if attempt == 0:
                    runs[name] = client.create_flow_run(went_down).id
                    client.set_flow_run_state(runs[name], state, force=True)
                    continue
                now = client.read_flow_run(runs[name]).state
                assert now is not None
                assert now.name == name
                assert now.message == "its process and this server went down while it ran"
