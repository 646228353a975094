"""One archive, on this machine or behind a URL: its members and their bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ganpipe.data.sources import tar_members, zip_members
from ganpipe.data.sources.base import Entry
from ganpipe.data.sources.folder import ARCHIVES, listed, local_path
from ganpipe.data.sources.members import Member
from ganpipe.errors import GanpipeError

# first bytes -> what unfolds a compressed tar, a bounded piece at a time
_UNFOLD: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_UNKNOWN_LENGTH = 2**50  # bytes, where a web server does not say


@dataclass(frozen=True)
class ArchiveFile:
    """An archive, or a file that lies beside archives."""

    shown: str
    entry: Entry
    """What its folder says about it."""
    open: Callable[[bool], BinaryIO]
    """Opens it; for reading forwards only where the argument is true."""
    prefix: str = ""
    """Of the paths in it: empty when it is the only one, else its name and a slash."""
    seekable: bool = True
    """Whether it seeks when opened for reading forwards."""

    @property
    def is_archive(self) -> bool:
        return not self.entry.status and (not self.prefix or _is_named_so(self.entry.path))

    def members(self) -> tuple[list[Member], list[str]]:
        """Its members in the order in which they are stored, and their tags.

        Raises GanpipeError when it is damaged or cannot be read.
        """
        length = self.entry.size or _UNKNOWN_LENGTH
        with self._opened() as (stream, is_zip, compressed):
            if is_zip:
                found = zip_members.members(stream, length)
                return found, [f"{member.crc:08x}-{member.size}" for member in found]
            seekable = self.seekable and not compressed
            found = tar_members.members(stream, length, compressed, seekable)
            return found, [self.entry.tag] * len(found)

    def payloads(self, wanted: Sequence[Member]) -> Iterator[bytes | None]:
        """The bytes of some members, given in stored order; None for one that is damaged.

        Raises GanpipeError when the archive cannot be read.
        """
        with self._opened() as (stream, is_zip, compressed):
            if is_zip:
                yield from zip_members.payloads(stream, wanted)
            else:
                seekable = self.seekable and not compressed
                yield from tar_members.payloads(stream, wanted, seekable)

    @contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, bool, bool]]:
        """A stream at the start of the zip or of the unfolded tar; is it a zip; was it folded."""
        try:
            with ExitStack() as stack:
                file = stack.enter_context(self.open(False))
                start = file.read(6)
                is_zip = start.startswith(b"PK") or (
                    self.entry.path.lower().endswith(".zip") and not _unfolder(start)
                )
                if is_zip:
                    yield file, True, False
                    return
                file.close()
                file = stack.enter_context(self.open(True))
                unfold = _unfolder(start)
                if unfold:
                    yield stack.enter_context(unfold(file)), False, True
                else:
                    yield file, False, False
        except GanpipeError:
            raise
        except Exception as error:  # decompressors and file systems raise anything
            reason = str(error) or type(error).__name__
            raise GanpipeError(
                f"{self.shown} is damaged, or cannot be read to its end: {reason}. Get a whole "
                f"copy of the .zip or .tar (.gz, .bz2, .xz), and set data.path to it"
            ) from error


def local_files(path: str) -> list[ArchiveFile]:
    """The archive at a path, or every file below a folder."""
    place = local_path(path)
    if place.is_dir():
        entries, odd = listed(place)
        if not entries:
            raise GanpipeError(f"data.path={path} holds no files: put archives there")
        folder = os.fsencode(place) + b"/"
        return [
            _local_file(entry, folder + (odd.get(entry.path) or entry.path.encode()), f"{path}/")
            for entry in entries
        ]
    try:
        about = place.stat()
    except OSError as error:
        raise GanpipeError(
            f"data.path={path} cannot be read ({error.strerror}): set data.path to an archive, "
            f"or to a folder of archives (its absolute path; now in {Path.cwd()})"
        ) from error
    entry = Entry(place.name, about.st_size, str(about.st_mtime_ns))
    return [ArchiveFile(path, entry, partial(_open_local, os.fsencode(place), entry.tag))]


def remote_files(url: str) -> list[ArchiveFile]:
    """The archive at a URL, or every file below it."""
    from ganpipe.data.sources.store import Store

    store = Store(url)
    name = urlsplit(url).path.rstrip("/").rpartition("/")[2] or "archive"
    entries, real = ([], {}) if _is_named_so(name) else store.listed()
    seekable = not store.is_web
    if not entries:
        size, tag = store.info(store.place)
        opener = partial(store.open, store.place)
        entry = Entry(name, size or 0, tag)
        return [ArchiveFile(store.shown, entry, opener, seekable=seekable)]
    return [
        ArchiveFile(
            f"{store.shown.rstrip('/')}/{entry.path}",
            _of_any_size(entry),
            partial(store.open, real[entry.path]),
            f"{entry.path}/",
            seekable,
        )
        for entry in entries
    ]


def _local_file(entry: Entry, real: bytes, folder: str) -> ArchiveFile:
    opener = partial(_open_local, real, entry.tag)
    return ArchiveFile(folder + entry.path, _of_any_size(entry), opener, f"{entry.path}/")


def _open_local(path: bytes, tag: str, forwards: bool) -> BinaryIO:
    file = open(path, "rb")  # noqa: PTH123, SIM115 - a name of bytes; the caller closes it
    if str(os.fstat(file.fileno()).st_mtime_ns) != tag:
        file.close()
        raise GanpipeError(f"{os.fsdecode(path)} was changed while it was read: run again")
    return file


def _of_any_size(entry: Entry) -> Entry:
    """The entry without the limit for pictures where it is an archive."""
    too_large = entry.status == "too-large" and _is_named_so(entry.path)
    return entry._replace(status="") if too_large else entry


def _is_named_so(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


def _unfolder(start: bytes) -> Callable[[BinaryIO], Any] | None:
    return next((unfold for magic, unfold in _UNFOLD.items() if start.startswith(magic)), None)
