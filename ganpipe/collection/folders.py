"""What lies below the state folder: workspaces, training states, downloaded generators, logs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ganpipe import workspace
from ganpipe.collection.items import Item, Rules, judged, left_over
from ganpipe.collection.locks import dvc_at_work
from ganpipe.errors import GanpipeError
from ganpipe.processes import started

PARTIAL = ".partial"


def workspaces(repo: Path, running: Mapping[str, str], rules: Rules) -> list[Item]:
    """The runs' checkouts, newest first. `running`: why a run, by name, is under way."""
    found = []
    for rank, folder in enumerate(workspace.workspaces(repo)):
        needed = running.get(folder.name, "")
        if not needed and dvc_at_work(folder):
            needed = "DVC is at work there"
        place = str(folder)
        written = folder.stat().st_mtime
        size = own_bytes(folder)
        found.append(
            judged(
                "workspaces",
                folder.name,
                place,
                written,
                rules,
                size=size,
                needed=needed,
                rank=rank,
            )
        )
    return found + _half_made(workspace.state_folder(repo) / "workspaces", rules)


def _half_made(folder: Path, rules: Rules) -> list[Item]:
    partial = folder.glob(f".*{PARTIAL}") if folder.is_dir() else ()
    return [
        left_over("workspaces", path.name, str(path), path.stat().st_mtime, rules, own_bytes(path))
        for path in sorted(partial)
        if not _has_maker(path)
    ]


def _has_maker(partial: Path) -> bool:
    """Whether the process lives whose id a half-made folder's name ends with."""
    pid = partial.name.removesuffix(PARTIAL).rpartition(".")[2]
    return pid.isdigit() and int(pid) != os.getpid() and started(int(pid)) is not None


def states(state: Path, rules: Rules) -> list[Item]:
    """The folders in which trainings keep what they need to go on."""
    scratch = state / "scratch"
    found = []
    for folder in sorted(scratch.iterdir()) if scratch.is_dir() else ():
        if not folder.is_dir():
            continue
        # `.old` is what a training was removing when it was killed
        needed = "a training is under way" if _is_held(_lock_of(folder)) else ""
        written = max(found.st_mtime for found in (folder.lstat(), *_below(folder)))
        place, size = str(folder), own_bytes(folder)
        found.append(judged("states", folder.name, place, written, rules, size=size, needed=needed))
    return found


def _lock_of(scratch: Path) -> Path:
    """The lock that a training holds: see ganpipe.training.scratch.claimed."""
    return scratch.with_name(f"{scratch.name.removesuffix('.old')}.lock")


def _is_held(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def downloads(state: Path, needed: Mapping[str, str], rules: Rules) -> list[Item]:
    """Generators of registered versions, by their sha256; each can be downloaded again."""
    models = state / "models"
    return [
        judged(
            "models",
            folder.name[:16],
            str(folder),
            folder.stat().st_mtime,
            rules,
            size=own_bytes(folder),
            needed=needed.get(folder.name, ""),
        )
        for folder in (sorted(models.iterdir()) if models.is_dir() else ())
        if folder.is_dir()
    ]


def logs(state: Path, rules: Rules) -> list[Item]:
    """What servers and workers said."""
    return [
        judged(
            "logs",
            path.name,
            str(path),
            path.stat().st_mtime,
            rules,
            size=path.stat().st_size,
        )
        for path in sorted((state / "logs").glob("*.log"))
    ]


def own_bytes(folder: Path) -> int:
    """Bytes that only this folder holds: a file that is linked into the cache stays there."""
    files = (found for found in _below(folder) if not stat.S_ISDIR(found.st_mode))
    return sum(found.st_size for found in files if found.st_nlink == 1)


def _below(folder: Path) -> Iterator[os.stat_result]:
    """Of all below a folder, if it exists, but for what goes meanwhile: a run may be at work."""
    for place, folders, files in os.walk(folder):  # skips what is gone
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                yield Path(place, name).lstat()


def remove(item: Item, roots: Collection[Path]) -> None:
    """Delete a folder or file below one of `roots`, its name first: half of it looks like none."""
    path = Path(item.where)
    if path.parent not in roots:
        raise ValueError(f"{path} is not below {roots}")
    if item.kind == "logs":
        path.unlink(missing_ok=True)
    elif item.kind == "states":
        try:
            with FileLock(_lock_of(path), timeout=0):
                old = path.with_name(f"{path.name.removesuffix('.old')}.old")
                if old.exists():
                    shutil.rmtree(old)
                if path.exists():
                    path.rename(old)
                    shutil.rmtree(old)
        except Timeout:
            raise GanpipeError(
                f"{path}: a training has begun there: run `ganpipe gc` again"
            ) from None
    elif path.name.endswith(PARTIAL):
        shutil.rmtree(path)
    else:
        beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
        path.rename(beside)
        shutil.rmtree(beside)
