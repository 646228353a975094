"""Who may put bytes into DVC's cache, and who may take them away."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpipe.errors import GanpipeError

USERS = "cache.lock"
COLLECTOR = "gc.lock"


@contextmanager
def using_cache(state: Path) -> Iterator[None]:
    """Held by a run from its pin to its registration: what it has in the cache may have no lock
    file yet that names it. Any number hold it at once; a collection that is under way is waited
    for, and none begins.
    """
    with _opened(state / USERS) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def sole_user(state: Path) -> Iterator[bool]:
    """Whether nobody uses the cache; then nobody does until the block ends."""
    with _alone(state / USERS) as alone:
        yield alone


@contextmanager
def only_collector(state: Path) -> Iterator[None]:
    """One `ganpipe gc` at a time. Raises GanpipeError when there is another."""
    with _alone(state / COLLECTOR) as alone:
        if not alone:
            raise GanpipeError(
                f"another `ganpipe gc` holds {state / COLLECTOR}: let it finish, or end it"
            )
        yield


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    with _opened(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            alone = True
        except BlockingIOError:
            alone = False
        yield alone


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        yield file.fileno()  # closing gives the lock up


def dvc_at_work(folder: Path) -> bool:
    """Whether a DVC command of this machine runs a stage, or reads or writes data, in a checkout.

    DVC writes down who does, and cannot take it back where it was killed.
    """
    import psutil

    try:
        written = json.loads((folder / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:  # it is being written
        return True
    marks = [*written.get("write", {}).values()]
    marks += [mark for marks in written.get("read", {}).values() for mark in marks]
    return any(psutil.pid_exists(int(mark["pid"])) for mark in marks)
