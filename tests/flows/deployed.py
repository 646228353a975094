"""A small repository that is deployed to a Prefect server of its own, and workers for it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import deploy
from flows.prefect_server import command, settings, shared_server
from ganpipe import workspace
from tests.flows import quick
from tests.flows.registered import Repository

WAITS = '    while (here.parents[1] / "wait").exists():'
# the training has children, one of them in a session of its own
CHILDREN = """
    import subprocess
    wait = here.parents[1] / "wait"
    if wait.exists():
        sleep = [sys.executable, "-c", "import time; time.sleep(600)", str(wait)]
        subprocess.Popen(sleep)
        subprocess.Popen(sleep, start_new_session=True)
        (wait.parent / "at work").touch()
"""


class Deployed:
    """A repository, the server that it is deployed to, and what runs there."""

    def __init__(self, made: Repository, url: str) -> None:
        self.made, self.url = made, url
        self.state = made.state
        self.env = {
            **workspace.environment(made.folder),
            **settings(made.state, url),
            "GANPIPE_REPOSITORY": str(made.folder),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }

    def deploy(self, replace: bool = False) -> list[str]:
        return deploy.deploy(self.made.folder, "ganpipe", self.env, replace)

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A worker that nothing guards, as one started by hand; killed at the end."""
        with (self.state / "worker.log").open("ab") as log:
            started = subprocess.Popen(
                command("worker", "start", "--pool", "ganpipe", "--type", "process"),
                cwd=self.made.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield started
        finally:
            started.kill()
            started.wait()

    def start(self, deployment: str, **parameters: Any) -> UUID:
        with get_client(sync_client=True) as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters).id

    def run(self, flow_run: UUID) -> FlowRun:
        with get_client(sync_client=True) as client:
            return client.read_flow_run(flow_run)

    def wait(
        self, flow_run: UUID, condition: Callable[[FlowRun], bool], seconds: float = 120
    ) -> FlowRun:
        wait_for(lambda: condition(self.run(flow_run)), seconds, lambda: self.run(flow_run).state)
        return self.run(flow_run)

    def hold(self) -> None:
        """The stage `train` of the next run stays at work, with children, until `let_go`."""
        (self.state / "at work").unlink(missing_ok=True)
        (self.state / "wait").touch()

    def let_go(self) -> None:
        (self.state / "wait").unlink()

    def wait_until_at_work(self, seconds: float = 120) -> None:
        wait_for((self.state / "at work").exists, seconds)
        assert len(self.processes()) >= 5

    def processes(self) -> list[str]:
        """Command lines of what belongs to a run: guards, flows, stages, their children."""
        found = []
        for process in psutil.process_iter(["cmdline", "status", "cwd"]):
            words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
            at_work = "workspaces" in words[-1] or any(
                "--with-parent" in word
                or "prefect.engine" in word
                or str(self.state / "wait") in word
                for word in words
            )
            if process.info["status"] != psutil.STATUS_ZOMBIE and at_work:
                found.append(" ".join(words))
        return [each for each in found if str(self.state) in each or str(self.made.folder) in each]


def wait_for(
    condition: Callable[[], bool], seconds: float = 120, told: Callable[[], Any] = lambda: ""
) -> float:
    """Seconds until the condition held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, told()
        time.sleep(0.2)
    return time.monotonic() - began


def make(folder: Path, code: Path, *assignments: str) -> Repository:
    """The repository of `quick`, whose training has children."""
    made = quick.make(folder, code, *assignments)
    script = made.folder / "more.py"
    text = script.read_text(encoding="utf-8")
    script.write_text(text.replace(WAITS, CHILDREN + WAITS), encoding="utf-8")
    return made


@contextmanager
def deployed(folder: Path, code: Path, *assignments: str) -> Iterator[Deployed]:
    """A repository in a path with a space, and a server without deployments."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GANPIPE_STATE", "GIT_DIR"):
            patch.delenv(name, raising=False)
        made = make(folder / "a repository", code, *assignments)
        with shared_server(made.state) as url, temporary_settings({PREFECT_API_URL: url}):
            yield Deployed(made, url)
