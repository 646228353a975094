"""Images in .zip and .tar archives, read where they lie: nothing is unpacked to the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

from ganpipe.data.sources.archive_file import ArchiveFile, local_files, remote_files
from ganpipe.data.sources.base import HIDDEN, Entry, digest_of
from ganpipe.data.sources.folder import ARCHIVES
from ganpipe.data.sources.labels import Table, find_table, labelled, read_table, table_paths
from ganpipe.data.sources.members import Member
from ganpipe.data.sources.names import distinct, is_left_out
from ganpipe.errors import GanpipeError


class Archive:
    """Images in one archive, or in all below a folder or URL: then its name leads their paths.

    Sub-folders are classes; a folder that holds everything in an archive is none, and its
    sub-folders are. Hidden members and litter are left out. `labels` is data.labels; label files
    are looked for in each archive. Raises GanpipeError for an archive that is damaged or missing.
    """

    resolution = 0
    classes: list[str] = []  # noqa: RUF012 - the protocol's; names come with the entries

    def __init__(self, path: str, labels: str = "auto") -> None:
        self.path = path
        self.labels = labels
        remote = "://" in path and not path.startswith("file://")
        self._files = remote_files(path) if remote else local_files(path)
        if not any(file.is_archive for file in self._files):
            raise GanpipeError(
                f"data.path={path} holds no archive ({', '.join(ARCHIVES)}) but "
                f"{len(self._files)} other files: set data.source=folder for images"
            )

    @property
    def entries(self) -> list[Entry]:
        """Every file in every archive, ordered by path.

        The tag of a zip's member is its checksum, that of a tar's member is the archive's own.
        """
        return self._contents[0]

    def fingerprint(self) -> dict[str, Any]:
        """Of the archives as files: their members are not listed."""
        return {
            "source": "archive",
            "count": sum(file.is_archive for file in self._files),
            "bytes": sum(file.entry.size for file in self._files),
            "digest": digest_of(file.entry for file in self._files),
        }

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """Payloads in the order in which they are stored."""
        places = self._contents[1]
        yield from ((entry, b"") for entry in wanted if entry.status)
        usable = [(*places[entry.path], entry) for entry in wanted if not entry.status]
        usable.sort(key=lambda item: (item[0], item[1].start))
        for number, items in groupby(usable, key=lambda item: item[0]):
            members, entries = zip(*((member, entry) for _, member, entry in items), strict=True)
            payloads = self._files[number].payloads(members)
            for entry, payload in zip(entries, payloads, strict=True):
                if payload is None:
                    yield entry._replace(status="not-readable"), b""
                else:
                    yield entry, payload

    @cached_property
    def _contents(self) -> tuple[list[Entry], dict[str, tuple[int, Member]]]:
        """The entries, and for each path the number of its archive and the member in it."""
        entries: list[Entry] = []
        places: dict[str, tuple[int, Member]] = {}
        for number, file in enumerate(self._files):
            if file.entry.status == HIDDEN or not file.is_archive:
                status = file.entry.status or "beside-archives"
                entries.append(file.entry._replace(status=status))
                continue
            listed, of_file = self._listed(file)
            entries += listed
            places |= {path: (number, member) for path, member in of_file.items()}
        if not places:
            raise GanpipeError(f"data.path={self.path} holds no files: put images in the archive")
        return sorted(entries, key=lambda entry: entry.path), places

    def _listed(self, file: ArchiveFile) -> tuple[list[Entry], dict[str, Member]]:
        found, tags = file.members()
        paths = distinct([file.prefix + member.name for member in found])
        members = dict(zip(paths, found, strict=True))
        aside = {
            path: HIDDEN
            for path, member in members.items()
            if member.status != "unsafe-name" and is_left_out(member.name)
        }
        safe = [
            path
            for path, member in members.items()
            if path not in aside and member.status != "unsafe-name"
        ]
        folders = [file.prefix, _root(safe, file.prefix)]
        table = self._table(file, members, folders)
        tables = set(table_paths(folders))
        entries = [
            Entry(path, member.size, tag, status=aside.get(path, member.status))
            for (path, member), tag in zip(members.items(), tags, strict=True)
            if path not in tables
        ]
        return labelled(entries, self.labels, table, folders[-1]), members

    def _table(
        self, file: ArchiveFile, members: dict[str, Member], folders: list[str]
    ) -> Table | None:
        path = find_table(members, folders, self.labels, file.shown)
        if not path:
            return None
        member = members[path]
        payload = None if member.status else next(file.payloads([member]))
        if payload is None:
            raise GanpipeError(
                f"{file.shown}: {path} cannot be read ({member.status or 'it is damaged'}): pack "
                f"it again, or set data.labels=folders"
            )
        return read_table(payload, path, self.labels, file.shown)


def _root(paths: list[str], prefix: str) -> str:
    """The folder that holds all paths below the prefix, with a slash; else the prefix."""
    first, slash, _ = paths[0][len(prefix) :].partition("/") if paths else ("", "", "")
    root = prefix + first + slash
    return root if slash and all(path.startswith(root) for path in paths) else prefix
