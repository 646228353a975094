"""A folder of images on this machine: every file below it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from ganpipe.data.sources.base import HIDDEN, LARGEST_FILE, Entry
from ganpipe.data.sources.names import distinct, text_of
from ganpipe.data.sources.pile import Pile
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_LITTER = (b"__macosx", b"thumbs.db", b"desktop.ini")  # of macOS and Windows


class Folder(Pile):
    """Images below a folder.

    `labels` is data.labels. The tag of an entry is its time of change in ns. Raises GanpipeError
    when there is no such folder or nothing in it.
    """

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.folder = local_path(path)
        self.labels, self.shown = labels, str(self.folder)
        if self.folder.is_dir():
            return
        if self.folder.name.lower().endswith(ARCHIVES) and self.folder.is_file():
            raise GanpipeError(f"data.path={path} is an archive: set data.source=archive")
        found = "is a file" if self.folder.exists() else "does not exist"
        raise GanpipeError(
            f"data.path={path} {found}: set data.path to a folder of images "
            f"(its absolute path; now in {Path.cwd()})"
        )

    @property
    def files(self) -> list[Entry]:
        return self._listing[0]

    def payload(self, path: str) -> bytes:
        name = self._listing[1].get(path) or path.encode()
        with open(os.path.join(os.fsencode(self.folder), name), "rb") as file:  # noqa: PTH118, PTH123 - a name of bytes
            return file.read()

    def nothing(self) -> GanpipeError:
        return GanpipeError(
            f"data.path={self.shown} holds no files: put images there, or in sub-folders "
            f"named after their classes"
        )

    def unread(self, path: str, error: Exception) -> GanpipeError:
        reason = getattr(error, "strerror", None) or error
        return GanpipeError(
            f"{self.shown}/{shown(path)} cannot be read ({reason}): give this user the right to, "
            f"or run again when the disk or the network behind it answers"
        )

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """Payloads in path order."""
        for entry in sorted(wanted, key=lambda entry: entry.path):
            if entry.status:
                yield entry, b""
                continue
            try:
                payload = self.payload(entry.path)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                yield entry._replace(status="missing"), b""
            except PermissionError:
                yield entry._replace(status="not-readable"), b""
            except OSError as error:
                # of the disk, not of the file: set aside, it would be missing for good
                raise self.unread(entry.path, error) from error
            else:
                yield entry, payload

    @cached_property
    def _listing(self) -> tuple[list[Entry], dict[str, bytes]]:
        return listed(self.folder)


def local_path(path: str) -> Path:
    """A path of this machine, given as such or as a file:// URL."""
    if path.startswith("file://"):
        return Path(unquote(path.removeprefix("file://").removeprefix("localhost")))
    return Path(path).expanduser()


def listed(folder: Path) -> tuple[list[Entry], dict[str, bytes]]:
    """Every file below a folder, ordered by path and without classes.

    Also the true names of those whose path is not the name in UTF-8. Raises GanpipeError where
    a folder cannot be listed.
    """
    found = sorted(_walk(os.fsencode(folder)))
    odd: dict[str, bytes] = {}
    try:
        names = [each[0].decode() for each in found]
    except UnicodeDecodeError:
        names = distinct([text_of(name) for name, *_ in found])
        pairs = zip(names, found, strict=True)
        odd = {path: name for path, (name, *_) in pairs if path.encode() != name}
    files = [
        Entry._make((path, size, str(changed), "", "", "", status))
        for path, (_, size, changed, status) in zip(names, found, strict=True)
    ]
    return files, odd


def _walk(root: bytes) -> Iterator[tuple[bytes, int, int, str]]:
    """Name relative to the root, bytes, time of change and status, in the order of the disk."""
    unusable = _Reader.this().unusable
    waiting = [b""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(root + b"/" + prefix) as found:
                for item in found:
                    name = item.name
                    if name.startswith(b".") or name.lower() in _LITTER:
                        # never looked into, and no time of change: systems rewrite theirs at will
                        yield prefix + name, 0, 0, HIDDEN
                        continue
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(prefix + name + b"/")
                        continue
                    try:
                        about = item.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone since the folder was opened: no file of this listing
                    yield prefix + name, about.st_size, about.st_mtime_ns, unusable(about)
        except OSError as error:
            raise GanpipeError(
                f"{error.filename!r} cannot be read ({error.strerror}): give this user the right "
                f"to read it"
            ) from error


@dataclass(frozen=True)
class _Reader:
    """The user who reads."""

    user: int
    groups: frozenset[int]

    @staticmethod
    def this() -> _Reader:
        return _Reader(os.geteuid(), frozenset([os.getegid(), *os.getgroups()]))

    def unusable(self, about: os.stat_result) -> str:
        """Why a file is set aside without reading it, or nothing."""
        mode = about.st_mode
        if not stat.S_ISREG(mode):
            # a pipe would be waited on for ever
            return "symlink" if stat.S_ISLNK(mode) else "not-a-file"
        if self.user and not self._may_read(about):
            return (
                "not-readable"  # from the listing, so that the fingerprint tells when it is mended
            )
        return "too-large" if about.st_size > LARGEST_FILE else ""

    def _may_read(self, about: os.stat_result) -> bool:
        if about.st_uid == self.user:
            return bool(about.st_mode & stat.S_IRUSR)
        group = about.st_gid in self.groups
        return bool(about.st_mode & (stat.S_IRGRP if group else stat.S_IROTH))
