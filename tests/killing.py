"""Runs that kill themselves with SIGKILL at a chosen moment, in forks of one loaded process.

A moment is the n-th time that a run is about to write, rename or remove something below its folder
(Python's audit events; what safetensors writes by itself goes between two of them).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
MOMENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


def told(worker: Path, *arguments: object) -> Any:
    """The JSON that a script of the tests prints."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, str(worker), *map(str, arguments)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True, timeout=550)
    return json.loads(done.stdout)


def forked(
    root: Path, work: Callable[[], object], moment: int = 0, names: Path | None = None
) -> int:
    """The exit code of work in `root` that is killed at a moment (0: never).

    Work that comes to its end may note the names of all moments.
    """
    process = multiprocessing.get_context("fork").Process(
        target=_hooked, args=(root, work, moment, names)
    )
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _hooked(root: Path, work: Callable[[], object], moment: int, names: Path | None) -> None:
    seen: list[str] = []

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            below = isinstance(path, str | os.PathLike) and str(path).startswith(str(root))
            if not below or not isinstance(flags, int) or not flags & WRITING:
                return
        elif event not in MOMENTS:
            return
        seen.append(f"{event} {Path(str(arguments[0])).name}")
        if len(seen) == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.addaudithook(hook)
    work()
    told = json.dumps(seen)
    if names is not None:
        names.write_text(told)
