"""`make ui` on a copy of this code: Prefect, MLflow and a worker, and what they tell of a run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from ganpipe import addresses, params
from ganpipe.params import Params
from tests.integration.conftest import SMALL, Checkout

ROOT = Path(__file__).parents[3]
SERVICES = {
    "worker": "prefect worker start",
    "Prefect's server": "prefect server start",
    "MLflow's server": "mlflow server",
}
START_SECONDS, END_SECONDS = 180.0, 60.0


class Operated:
    """A checkout, and the servers and the worker that `make ui` runs for it."""

    def __init__(self, checkout: Checkout, ui: psutil.Process, url: str) -> None:
        self.repo, self.checkout, self._ui = checkout.folder, checkout, ui
        # no proxy: it is this machine
        self._api = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What Prefect's API answers. Raises httpx.HTTPStatusError."""
        answer = self._api.request(method, path, json=body)
        # SQLite was locked, and nothing was done: Prefect's own client asks again too
        while answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            time.sleep(float(answer.headers.get("Retry-After", 1)))
            answer = self._api.request(method, path, json=body)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def start(self, name: str, parameters: dict[str, Any], ahead: float = 0.0) -> str:
        """The id of a new flow run of a deployment, scheduled so many seconds ahead."""
        found = self.ask("GET", f"deployments/name/{name}")["id"]
        when = datetime.now(UTC) + timedelta(seconds=ahead)
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": when.isoformat()}}
        body = {"parameters": parameters, "state": state}
        return str(self.ask("POST", f"deployments/{found}/create_flow_run", body)["id"])

    def ended(self, flow_run: str, seconds: float = 1800) -> FlowRun:
        """A run that has completed. Raises RuntimeError when it does not, or ends otherwise."""
        run: dict[str, Any] = {}

        def over() -> bool:
            nonlocal run
            run = self.ask("GET", f"flow_runs/{flow_run}")
            return run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")

        # seldom: what is asked for costs the server time, which the run has to do without
        wait_for(over, seconds, f"the end of {flow_run}", every=2.0)
        if run["state_type"] != "COMPLETED":
            raise RuntimeError(f"{run['name']} ended as {run['state']}")
        states = self.ask("GET", f"flow_run_states/?flow_run_id={flow_run}")
        among = {"flow_runs": {"id": {"any_": [flow_run]}}}
        tasks = self.ask("POST", "task_runs/filter", {**among, "sort": "END_TIME_DESC"})
        return FlowRun(run, states, tasks)

    def processes(self, service: str) -> list[psutil.Process]:
        """Those of one of SERVICES, its guard and its children."""
        (guard,) = [
            child for child in self._ui.children() if SERVICES[service] in command_line(child)
        ]
        return [guard, *guard.children(recursive=True)]

    def wait_until_idle(self) -> None:
        """Return when the processes of the worker's runs are gone."""

        def idle() -> bool:
            return not any(
                "prefect.engine" in command_line(each) for each in self.processes("worker")
            )

        wait_for(idle, 60, "the end of the run's process")


class FlowRun:
    """When what happened to a run, in Unix seconds."""

    def __init__(
        self, run: dict[str, Any], states: list[dict[str, Any]], tasks: list[dict[str, Any]]
    ) -> None:
        self.id, self.name, self.message = run["id"], run["name"], str(run["state"]["message"])
        self.scheduled = seconds(run["expected_start_time"])
        self.created = seconds(run["created"])
        when = {each["name"]: seconds(each["timestamp"]) for each in states}
        self.pending, self.running = when["Pending"], when["Running"]
        self.end = seconds(run["end_time"])
        self.state = run["state_name"]
        self.tasks = {
            each["name"]: (seconds(each["start_time"]), seconds(each["end_time"])) for each in tasks
        }


def command_line(process: psutil.Process) -> str:
    """Empty for one that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def seconds(told: str) -> float:
    """Unix seconds of a time that the API tells."""
    return datetime.fromisoformat(told).timestamp()


def wait_for(condition: Callable[[], bool], limit: float, what: str, every: float = 0.2) -> None:
    """Look again and again. Raises TimeoutError when so many seconds were over."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit:g} s for {what}")
        time.sleep(every)


def small(*assignments: str) -> Params:
    """Parameters with which every stage takes seconds."""
    return params.override(Params(), [*SMALL, *assignments])


@contextmanager
def operated(folder: Path, chosen: Params, **variables: str) -> Iterator[Operated]:
    """Copy the code below `folder`, with these parameters, and serve it; all ended at the end."""
    checkout = Checkout.of(ROOT, folder / "repository")
    params.write(chosen, checkout.folder / params.PARAMS_FILE)
    checkout.git("commit", "--all", "--allow-empty", "--quiet", "--message", "parameters")
    log = folder / "ui.log"
    with log.open("wb") as output:
        ui = subprocess.Popen(
            [sys.executable, "-m", "ganpipe", "ui"],
            cwd=checkout.folder,
            env=checkout.environment(PYTHONUNBUFFERED="1", **variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:

        def up() -> bool:
            if ui.poll() is not None:
                raise RuntimeError(log.read_text(encoding="utf-8"))
            return "Ctrl-C stops" in log.read_text(encoding="utf-8")

        wait_for(up, START_SECONDS, "`ganpipe ui`")
        url = addresses.read(checkout.folder / ".ganpipe")["prefect"]
        yield Operated(checkout, psutil.Process(ui.pid), url)
    finally:
        ui.terminate()
        try:
            ui.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            ui.kill()  # the guards of its children end them then
            ui.wait()
