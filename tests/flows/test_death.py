"""Cancelled, killed, silent: no process is left, the run says so, and another worker goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Crashed

from flows import deploy
from flows.limits import limit_name
from flows.prefect_server import shared_server
from ganpipe import workspace
from tests.flows.deployed import Deployed, deployed, wait_for
from tests.flows.quick import trained

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SILENCE = 40  # seconds, instead of the 150 of infra/automations.yaml
LEASE = 60.0  # seconds: the shortest that Prefect grants
SOON = 15.0


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Deployed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_EVENTS_EXPIRED_BUCKET_BUFFER", "PT10S")
        with deployed(tmp_path_factory.mktemp("death"), repository_root) as made:
            file = made.made.folder / "infra/automations.yaml"
            file.write_text(file.read_text().replace("within: 150", f"within: {SILENCE}"))
            slots = made.made.folder / "flows/limits.py"
            # a slot of the dead is free when its lease ends
            text = slots.read_text().replace("LEASE_SECONDS = 600.0", f"LEASE_SECONDS = {LEASE}")
            slots.write_text(text)
            made.deploy()
            yield made


def named(state: str) -> Callable[[FlowRun], bool]:
    return lambda run: run.state is not None and run.state.name == state


def at_work(there: Deployed, seed: int) -> UUID:
    """A run of train whose training is under way, with children in sessions of their own."""
    there.hold()
    run = there.start("train/on-demand", train={"seed": seed, "kimg": 10.0})
    there.wait_until_at_work()
    return run


def taken() -> int:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit_name("cpu")).active_slots


SERVE = """
from flows.train import train

if __name__ == "__main__":
    train.serve(name="by-hand")
"""


def cancel(there: Deployed, run: UUID) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())
    took = wait_for(lambda: not there.processes(), 60, there.processes)
    assert took < SOON
    there.wait(run, named("Cancelled"), 30)
    there.let_go()


def test_a_cancelled_run_leaves_no_process(there: Deployed) -> None:
    with there.worker():
        cancel(there, at_work(there, 1))


def test_a_cancelled_run_of_the_served_flow_leaves_no_process(there: Deployed) -> None:
    (there.made.folder / "serve.py").write_text(SERVE)
    serve = subprocess.Popen(
        [sys.executable, "serve.py"], cwd=there.made.folder, env=there.env, start_new_session=True
    )
    try:
        with get_client(sync_client=True) as client:
            wait_for(lambda: deploy.read(client, "train/by-hand") is not None)
        there.hold()
        run = there.start("train/by-hand")
        there.wait_until_at_work()
        cancel(there, run)
    finally:
        serve.kill()
        serve.wait()


def test_a_run_from_a_terminal_is_a_run_of_the_same_flow(there: Deployed) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ganpipe", "run", "--set", "train.seed=77"],
        cwd=there.made.folder,
        env={**there.env, "PREFECT_API_URL": there.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("train/on-demand")
        found = [
            run
            for run in client.read_flow_runs()
            if run.parameters.get("train", {}).get("seed") == 77
        ]
    assert [(run.flow_id, run.deployment_id) for run in found] == [(deployment.flow_id, None)]
    assert found[0].state is not None
    assert found[0].state.is_completed()


def test_a_killed_worker_takes_its_flows_along_and_another_worker_completes_them(
    there: Deployed,
) -> None:
    with there.worker() as worker:
        run = at_work(there, 2)
        worker.kill()
        took = wait_for(lambda: not there.processes(), 60, there.processes)
    assert took < SOON
    there.let_go()
    with there.worker():
        over = there.wait(run, named("Completed"), 240)
    assert over.run_count == 2


def test_a_run_that_fell_silent_is_marked_and_goes_on(there: Deployed) -> None:
    with there.worker() as worker:
        run = at_work(there, 3)
        for process in psutil.Process(worker.pid).children(recursive=True):
            process.kill()  # as when a machine goes down: nobody is left who could tell
        worker.kill()
    wait_for(lambda: not there.processes(), 30, there.processes)
    state = there.run(run).state
    assert state is not None
    assert state.name == "Running"
    # its slot does not wait for anybody to notice
    wait_for(lambda: taken() == 0, LEASE + 30)
    there.wait(run, named("Crashed"), SILENCE + 90)
    there.let_go()
    with there.worker():
        there.wait(run, named("Completed"), 240)


def test_a_run_that_only_seemed_dead_runs_on(there: Deployed) -> None:
    """As after an outage of the server, which took it for dead."""
    with there.worker():
        run = at_work(there, 4)
        at_it = there.processes()
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, Crashed(), force=True)
        there.wait(run, named("Running"), 120)
        assert set(at_it) <= set(there.processes())
        there.let_go()
        over = there.wait(run, named("Completed"), 120)
    assert [each.split()[0] for each in trained(there.made)].count("4") == 1
    assert ("Alive", f"{over.name} runs: its heart beats again") in recoveries(run)


def recoveries(run: UUID) -> list[tuple[str, str]]:
    """How the runs of `recover` that looked after a run ended."""
    same = FlowRunFilter(name=FlowRunFilterName(any_=[f"go on with {run}"]))
    with get_client(sync_client=True) as client:
        states = [each.state for each in client.read_flow_runs(flow_run_filter=same)]
    return [(str(each.name), str(each.message)) for each in states if each is not None]


RUN = """
import sys, time
from pathlib import Path
from flows.server import embedded
with embedded(Path(sys.argv[1])):
    from prefect import flow
    from prefect.runtime import flow_run
    @flow
    def work():
        print(flow_run.id, flush=True)
        time.sleep(600)
    work()
"""


def test_a_server_that_starts_anew_marks_what_went_down_with_the_last(
    tmp_path: Path, repository_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `kill -9` of `ganpipe run`, which took the only server along."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    killed = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path)],
        env=workspace.environment(repository_root),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert killed.stdout is not None
        run = UUID(killed.stdout.readline().strip())
    finally:
        killed.kill()
        killed.wait()
    with (
        shared_server(tmp_path) as url,
        temporary_settings({PREFECT_API_URL: url}),
        get_client(sync_client=True) as client,
    ):
        state = client.read_flow_run(run).state
    assert state is not None
    assert state.name == "Crashed"
    assert "went down" in str(state.message)
