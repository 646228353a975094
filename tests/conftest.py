"""What tests of several parts use: free ports and real servers, ended even when a test fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from ganpipe.addresses import opener

MlflowServer = Callable[[Path, int], AbstractContextManager[str]]


@pytest.fixture
def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _mlflow_server(state: Path, port: int) -> Iterator[str]:
    address, folder = f"http://127.0.0.1:{port}", state / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", (folder / "artifacts").as_uri()]
    log = folder / "server.log"
    # without its job queue, which is nine more processes
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with log.open("w") as output:
        server = subprocess.Popen(
            command, env=env, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                opener(address).open(f"{address}/health", timeout=2)
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.3)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def mlflow_server() -> MlflowServer:
    """`with mlflow_server(state, port) as address:` runs `mlflow server` on a state folder."""
    return _mlflow_server


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The repository that these tests belong to."""
    return Path(__file__).resolve().parents[1]
