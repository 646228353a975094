"""The lock under which aliases move: MLflow has no compare-and-set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpipe import addresses
from ganpipe.errors import GanpipeError

# the first `verify` of a large data set reads all of it
LOCK_SECONDS = 600.0
SQLITE = "sqlite:///"


@contextmanager
def file_lock(folder: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """The lock for a registry that one machine uses. Raises GanpipeError when it stays taken."""
    from filelock import FileLock, Timeout

    path = folder / "registry.lock"
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
    """Whether other machines may move aliases too.

    A database file and the MLflow of this checkout's `make ui` are this machine's.
    """
    return not uri.startswith(SQLITE) and uri != addresses.read(state).get("mlflow")


def has_shared_lock() -> bool:
    """Whether a Prefect server that is not this checkout's own can hold the lock."""
    url = os.environ.get("PREFECT_API_URL")
    return bool(url) and url != os.environ.get(addresses.OWN_PREFECT)


def lock_folder(uri: str, state: Path) -> Path:
    """Where the file lock of a registry lies: beside the database file, whoever uses it."""
    if uri.startswith(SQLITE):
        return Path(uri.removeprefix(SQLITE).partition("?")[0]).absolute().parent
    return state / "mlflow"
