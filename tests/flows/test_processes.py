"""A guard that a worker starts ends all of its descendants when the worker is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import processes

FLOW = """
import os, subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]
print(os.getpid(), *(child.pid for child in children), flush=True)
time.sleep(600)
"""
WORKER = """
import subprocess, sys
subprocess.run(sys.argv[1:])
"""


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    ("whom", "number"),
    [("worker", signal.SIGTERM), ("worker", signal.SIGKILL), ("guard", signal.SIGTERM)],
)
def test_no_process_of_a_flow_outlives_its_worker(whom: str, number: signal.Signals) -> None:
    guard = [sys.executable, "-I", str(Path(processes.__file__).resolve()), "--with-parent"]
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, *guard, "--", sys.executable, "-c", FLOW],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout is not None
        pids = [int(word) for word in worker.stdout.readline().split()]
        assert len(pids) == 3
        assert not any(map(is_gone, pids))
        killed = worker.pid
        if whom == "guard":
            (killed,) = (each.pid for each in psutil.Process(worker.pid).children())
        os.kill(killed, number)
        deadline = time.monotonic() + processes.PATIENCE
        while not all(map(is_gone, pids)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        worker.kill()
        worker.wait()
