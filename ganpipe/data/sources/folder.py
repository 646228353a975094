"""A folder of images: every file below it, the first sub-folder being the class."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ganpipe.data.sources.base import Item
from ganpipe.errors import GanpipeError

LARGEST_FILE = 2**29  # bytes: no picture to learn from is above half a GiB


@dataclass(frozen=True)
class _Entry:
    path: str
    real: bytes
    size: int
    modified: int
    status: str


class Folder:
    """Images below a folder, recursively; hidden files and folders are left out.

    When every file lies in a sub-folder, the first sub-folder names its class; files beside
    sub-folders make the whole folder unlabelled.
    """

    resolution = 0

    def __init__(self, path: str) -> None:
        self.folder = Path(path).expanduser()
        if not self.folder.is_dir():
            found = "is a file" if self.folder.exists() else "does not exist"
            raise GanpipeError(
                f"data.path={path} {found}: set data.path to a folder of images "
                f"(its absolute path; now in {Path.cwd()})"
            )
        if not self.entries:
            raise GanpipeError(
                f"data.path={path} holds no files: put images there, or in sub-folders "
                f"named after their classes"
            )

    @cached_property
    def entries(self) -> list[_Entry]:
        """Every file with its size and time, ordered by path."""
        found: list[_Entry] = []
        for folder, names, file_names in os.walk(os.fsencode(self.folder), onerror=_unreadable):
            names[:] = [name for name in names if not name.startswith(b".")]
            links = [name for name in names if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118 - bytes
            for name in [*file_names, *links]:
                if not name.startswith(b"."):
                    found.append(self._entry(os.path.join(folder, name)))  # noqa: PTH118 - bytes
        return sorted(found, key=lambda entry: entry.path)

    def _entry(self, real: bytes) -> _Entry:
        relative = os.path.relpath(real, os.fsencode(self.folder))
        # a name that is no UTF-8 keeps its odd bytes as \xNN, so that it can be written down
        path = relative.decode("utf-8", errors="backslashreplace")
        found = os.lstat(real)
        return _Entry(path, real, found.st_size, found.st_mtime_ns, _unusable(found))

    @cached_property
    def classes(self) -> list[str]:
        """First sub-folders in alphabetical order; empty when files lie beside them."""
        if any("/" not in entry.path for entry in self.entries):
            return []
        return sorted({entry.path.split("/", 1)[0] for entry in self.entries})

    def fingerprint(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for entry in self.entries:
            digest.update(f"{entry.path}\0{entry.size}\0{entry.modified}\n".encode())
        return {
            "source": "folder",
            "count": len(self.entries),
            "bytes": sum(entry.size for entry in self.entries),
            "digest": digest.hexdigest(),
        }

    def __iter__(self) -> Iterator[Item]:
        for entry in self.entries:
            label = entry.path.split("/", 1)[0] if self.classes else ""
            if entry.status:
                yield Item(entry.path, b"", label, status=entry.status)
                continue
            try:
                with open(entry.real, "rb") as file:  # noqa: PTH123 - a name of bytes
                    yield Item(entry.path, file.read(), label)
            except (FileNotFoundError, PermissionError) as error:
                missing = isinstance(error, FileNotFoundError)
                yield Item(entry.path, b"", label, status="missing" if missing else "not-readable")

    def __len__(self) -> int:
        return len(self.entries)


def _unusable(found: os.stat_result) -> str:
    """Why a file is set aside without reading it, or nothing."""
    if stat.S_ISLNK(found.st_mode):
        return "symlink"
    if not stat.S_ISREG(found.st_mode):
        return "not-a-file"  # a pipe would be waited on for ever
    return "too-large" if found.st_size > LARGEST_FILE else ""


def _unreadable(error: OSError) -> None:
    raise GanpipeError(
        f"{error.filename!r} cannot be read ({error.strerror}): give this user the right to read it"
    )
