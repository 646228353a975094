"""`ganpipe stage train` with train.devices > 1 starts its own processes on this machine.

They meet through a file in a folder of their own, and on a CPU they talk over the loopback
device: no port is open to others, and none can be taken. Several machines are torchrun's work.
No process is started again here: what failed is told, and the stage, run again, goes on from its
exact state.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ganpipe.errors import GanpipeError
from ganpipe.params import TrainParams
from ganpipe.supervision import VARIABLE as SUPERVISED
from ganpipe.training.distributed import RENDEZVOUS, check_shares, processes

COMMAND = (sys.executable, "-m", "ganpipe", "stage", "train")
PATIENCE = 15.0  # seconds from SIGTERM to SIGKILL, for the state to be written
LOOK = 0.1  # seconds between two looks at the processes
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def is_needed(params: TrainParams) -> bool:
    """Whether this process shall start those that train, and not train itself.

    Raises GanpipeError where that is torchrun's work.
    """
    if processes(params) == 1 or "RANK" in os.environ:
        return False
    if params.nodes > 1:
        raise GanpipeError(
            f"train.nodes={params.nodes}: start `torchrun --nnodes {params.nodes} --nproc-per-node "
            f"{params.devices} --rdzv-backend c10d --rdzv-endpoint HOST:PORT -m ganpipe stage "
            f"train` on each machine, or set train.nodes=1"
        )
    return True


def launch(params: TrainParams, folder: Path, command: tuple[str, ...] = COMMAND) -> None:
    """Run the stage in train.devices processes, in a folder with its params.yaml, to their end.

    Raises GanpipeError when one was killed, SystemExit with its code when one ended otherwise
    (it has said why) or when this process was asked to stop (SIGTERM; they save their state).
    """
    check_shares(params)
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as meeting, _stop_signal() as stop:
        environment = os.environ | {
            RENDEZVOUS: (Path(meeting) / "store").as_uri(),
            "WORLD_SIZE": str(params.devices),
            "LOCAL_WORLD_SIZE": str(params.devices),
            "GLOO_SOCKET_IFNAME": LOOPBACK,
            # the end of their standard input stops them, so they never outlive this process
            SUPERVISED: "1",
        }
        started: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(params.devices):
                started.append(_start(command, folder, environment, rank))
            _watch(started, stop)
        finally:
            for process in started:
                process.kill()
            for process in started:
                process.communicate()
    if stop:
        raise SystemExit(128 + stop[0])


def _start(
    command: tuple[str, ...], folder: Path, environment: Mapping[str, str], rank: int
) -> subprocess.Popen[bytes]:
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    return subprocess.Popen(
        command, cwd=folder, env={**environment, **ranks}, stdin=subprocess.PIPE
    )


def _watch(started: list[subprocess.Popen[bytes]], stop: list[int]) -> None:
    """Return when all have ended well, or were stopped; raise when one has not."""
    deadline = float("inf")
    while any(process.poll() is None for process in started) and time.monotonic() < deadline:
        if stop and deadline == float("inf"):
            deadline = time.monotonic() + PATIENCE
            for process in started:
                process.terminate()
        if not stop:
            _check(started)
        time.sleep(LOOK)
    if not stop:
        _check(started)


def _check(started: list[subprocess.Popen[bytes]]) -> None:
    for rank, process in enumerate(started):
        code = process.poll() or 0
        if code < 0:
            raise GanpipeError(
                f"process {rank} of the {len(started)} that train was killed by "
                f"{signal.Signals(-code).name} (SIGKILL: often for want of memory; then set a "
                f"lower train.batch or train.devices). The others were ended; run the stage "
                f"again and it goes on from its last state"
            )
        if code > 0:
            raise SystemExit(code)


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """Gathers the numbers of SIGTERMs in a list."""
    stop: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        stop.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
