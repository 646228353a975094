"""What a folder and a bucket share: files by name, whose classes a table or sub-folders tell."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

from ganpipe.data.sources.base import Entry, digest_of
from ganpipe.data.sources.labels import (
    Table,
    find_table,
    labelled,
    read_table,
    table_paths,
    with_table,
)
from ganpipe.errors import GanpipeError


class Pile(ABC):
    """Images below a place, recursively; hidden files are named, not looked at."""

    resolution = 0
    classes: list[str] = []  # noqa: RUF012 - the protocol's; names come with the entries
    labels: str
    """data.labels."""
    shown: str
    """The place, for people."""

    @property
    @abstractmethod
    def files(self) -> list[Entry]:
        """Every file, ordered by path and without classes. Listed once, then kept."""

    @abstractmethod
    def payload(self, path: str) -> bytes:
        """The bytes of a file. Raises what its file system raises."""

    @abstractmethod
    def nothing(self) -> GanpipeError:
        """What to say where there are no files."""

    @abstractmethod
    def unread(self, path: str, error: Exception) -> GanpipeError:
        """What to say where a file that is needed cannot be read."""

    @cached_property
    def entries(self) -> list[Entry]:
        if not self.files:
            raise self.nothing()
        tables = set(table_paths([""]))
        images = (file for file in self.files if file.status or file.path not in tables)
        return labelled(images, self.labels, self._table)

    def fingerprint(self) -> dict[str, Any]:
        return {
            "source": "folder",
            "count": len(self.entries),
            "bytes": sum(entry.size for entry in self.entries),
            "digest": with_table(digest_of(self.entries), self._table),
        }

    @cached_property
    def _table(self) -> Table | None:
        names = {file.path for file in self.files if "/" not in file.path and not file.status}
        path = find_table(names, [""], self.labels, self.shown)
        if not path:
            return None
        try:
            payload = self.payload(path)
        except Exception as error:
            raise self.unread(path, error) from error
        return read_table(payload, path, self.labels, self.shown)
