"""Child processes that never outlive their parent.

`start()` puts a guard between: this file run as a script, which starts the command in a session
of its own and ends all of its descendants when

- the guard's stdin ends: the parent closed it, or died, even by SIGKILL;
- with `--with-parent`, instead, the parent died: a Prefect worker gives its flows its own stdin;
- the guard is asked to stop by a signal;
- the command itself ends and leaves others behind;
- with `users`, nobody holds the lock on that file any more.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

PATIENCE = 15.0  # seconds between SIGTERM and SIGKILL: Prefect itself is killed after 30
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    output: int | IO[Any] = subprocess.PIPE,
    users: Path | None = None,
    patience: float = PATIENCE,
) -> subprocess.Popen[bytes]:
    """Start a guarded command; stdout and stderr both go to `output`.

    With `users`, the command lives as long as any process holds a shared `flock` on that file,
    instead of as long as the parent.
    """
    # -I: the guard must not import from the folder or PYTHONPATH of the command
    guard = [sys.executable, "-I", str(Path(__file__).resolve()), f"--patience={patience}"]
    if users is not None:
        guard.append(f"--users={users}")
    return subprocess.Popen(
        [*guard, "--", *command],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE if users is None else subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def lines(process: subprocess.Popen[bytes]) -> Iterator[str]:
    """The output of a command started with `output=PIPE`, line by line, until it ends."""
    for line in process.stdout or ():
        yield line.decode("utf-8", "replace").rstrip()


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a guarded command and all of its descendants, and wait for that."""
    if process.stdin is not None:
        # nothing is ever written to it, so closing cannot fail on a broken pipe
        process.stdin.close()
    elif process.poll() is None:
        process.terminate()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


class _Stop(Exception):  # noqa: N818 - a request, no error
    pass


def _request_stop(_signal: int, _frame: FrameType | None) -> None:
    for number in STOP_SIGNALS:  # the first request counts, a second must not disturb it
        signal.signal(number, signal.SIG_IGN)
    raise _Stop


def _guard(command: list[str], watch: tuple[Any, ...], patience: float) -> int:
    _adopt_orphans()
    for number in STOP_SIGNALS:
        signal.signal(number, _request_stop)
    try:
        child = subprocess.Popen(command, start_new_session=True)
        threading.Thread(target=_run_then_stop, args=watch, daemon=True).start()
        code = child.wait()
    except _Stop:
        code = -signal.SIGTERM
    finally:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _end_descendants(patience)
    return code if code >= 0 else 128 - code


def _run_then_stop(wait: Any, *arguments: Any) -> None:
    wait(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass


def _wait_for_end_of_parent(parent: int) -> None:
    # not PR_SET_PDEATHSIG, which comes as soon as the thread that started the guard ends
    while os.getppid() == parent:
        time.sleep(0.25)


def _wait_for_users(path: Path) -> None:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # kept until this process is gone: newcomers wait until the old command has ended
        os.dup(file.fileno())


def _adopt_orphans() -> None:
    """Become the parent of orphaned descendants (Linux), so that none escapes by a new session."""
    set_child_subreaper = 36
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0)


def _end_descendants(patience: float) -> None:
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        if not (alive := _descendants()):
            return
        for process in alive:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
        while _descendants() and time.monotonic() < deadline:
            time.sleep(0.05)


def _descendants() -> list[Any]:
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def main() -> int:
    parent = os.getppid()
    parser = argparse.ArgumentParser(description="Run a command and end it with its parent.")
    parser.add_argument("--users", type=Path)
    parser.add_argument("--with-parent", action="store_true")
    parser.add_argument("--patience", type=float, default=PATIENCE)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    watch: tuple[Any, ...] = (_wait_for_end_of_stdin,)
    if arguments.users is not None:
        watch = (_wait_for_users, arguments.users)
    elif arguments.with_parent:
        watch = (_wait_for_end_of_parent, parent)
    return _guard(arguments.command, watch, arguments.patience)


if __name__ == "__main__":
    sys.exit(main())
