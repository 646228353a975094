"""The lock under which aliases move: MLflow has no compare-and-set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpipe import addresses
from ganpipe.errors import GanpipeError

LOCK_SECONDS = 60.0


@contextmanager
def file_lock(state: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """The lock for a registry that one machine uses. Raises GanpipeError when it stays taken."""
    from filelock import FileLock, Timeout

    path = state / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise GanpipeError(
            f"another run has held {path} for {seconds:g} s: let it finish, or end it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_shared(uri: str, state: Path) -> bool:
    """Whether other machines may move aliases too, and a Prefect server can hold the lock.

    A database file and the MLflow of this checkout's `make ui` are its own.
    """
    own = not uri.startswith(("http:", "https:")) or uri == addresses.read(state).get("mlflow")
    return not own and bool(os.environ.get("PREFECT_API_URL"))
