"""An installation on the digits as `make ui` serves it: Prefect, a process worker, MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows import processes
from tests.integration.conftest import Checkout

# a training of seconds whose curve can be seen to move
PARAMETERS = (
    "train.kimg=10",
    "train.tick_kimg=0.5",
    "train.snapshot_kimg=2",
    "train.state_kimg=1",
    "evaluate.usefulness=never",
    "compute.processes=1",
)


class Installation:
    """A checkout, and the servers that `ganpipe ui` runs for it."""

    def __init__(self, folder: Path, prefect: str, mlflow: str) -> None:
        self.folder, self.prefect, self.mlflow = folder, prefect.removesuffix("/api"), mlflow
        self.state = folder / ".ganpipe"
        self._api = httpx.Client(base_url=f"{self.prefect}/api/", trust_env=False, timeout=60)

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Prefect's API, for what a page does not say: ids, and when to look again."""
        for _ in range(10):
            told = self._api.get(path) if body is None else self._api.post(path, json=body)
            if told.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(1)  # its database is busy, as Prefect's own client knows
        return told.raise_for_status().json()

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(f"deployments/name/{name}")
        return found

    def artifact(self, run: str, key: str) -> dict[str, Any] | None:
        """An artifact of a run by its key, a progress bar by its stage."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run]}}}
        for each in self.call("artifacts/filter", wanted):
            if key == (each["key"] or str(each["description"]).partition(":")[0]):
                found: dict[str, Any] = each
                return found
        return None

    def wait_for_state(self, run: str, name: str, seconds: float = 300) -> None:
        def is_there() -> bool:
            state = self.call(f"flow_runs/{run}")["state"]
            ended = state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
            assert not ended or state["name"] == name, state
            return bool(state["name"] == name)

        wait_for(is_there, seconds)

    def processes(self) -> list[str]:
        """Command lines of what belongs to a run: guards, flows, stages, their children."""
        found = []
        for process in psutil.process_iter(["cmdline", "cwd", "status"]):
            words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
            ours = any(str(self.folder) in word for word in words)
            at_work = any("workspaces" in word or "prefect.engine" in word for word in words)
            if ours and at_work and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(" ".join(words))
        return found


def wait_for(condition: Callable[[], Any], seconds: float) -> float:
    """Seconds until the condition held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.3)
    return time.monotonic() - began


@contextmanager
def installed(code: Path, folder: Path) -> Iterator[Installation]:
    """Copy the code and serve it; every process is gone at the end."""
    checkout = Checkout.of(code, folder, list(PARAMETERS))
    env = checkout.environment(OMP_NUM_THREADS="1", PREFECT_WORKER_QUERY_SECONDS="1")
    log = folder.with_name("ui.log")
    with log.open("w") as output:
        ui = subprocess.Popen(
            [sys.executable, "-m", "ganpipe", "ui"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:

        def is_up() -> bool:
            assert ui.poll() is None, log.read_text()
            return "Ctrl-C" in log.read_text()

        wait_for(is_up, 240)
        found = json.loads((folder / ".ganpipe" / "ui.json").read_text())
        yield Installation(folder, found["prefect"], found["mlflow"])
    finally:
        processes.stop(ui)
        assert not [each for each in psutil.process_iter(["cwd"]) if _is_in(each, folder)]


def _is_in(process: psutil.Process, folder: Path) -> bool:
    return process.pid != os.getpid() and str(process.info["cwd"] or "").startswith(str(folder))
