"""The real service, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass
class Service:
    """A running service."""

    process: subprocess.Popen[str]
    address: str

    def ask(self, timeout: float = 60, **wanted: object) -> httpx.Response:
        return httpx.post(f"{self.address}/generate", json=wanted, timeout=timeout)

    def health(self) -> dict[str, str]:
        found: dict[str, str] = httpx.get(f"{self.address}/health").json()
        return found


Serve = Callable[..., AbstractContextManager[Service]]


@contextmanager
def serve(state: Path, uri: str, *options: str, **more: str) -> Iterator[Service]:
    env = {**os.environ, "GANPIPE_STATE": str(state), "OMP_NUM_THREADS": "1"}
    env |= {"MLFLOW_TRACKING_URI": uri, **more}
    command = [sys.executable, "-m", "ganpipe", "serve", "--port", "0", *options]
    log = state / "service.log"
    state.mkdir(parents=True, exist_ok=True)
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert " at http://" in line, line + log.read_text()
        address = line.split(" at ")[1].split("/ ")[0]
        with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
            client.get(f"{address}/health")
        yield Service(process, address)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
