"""Images below a URL of any file system that fsspec knows: s3://, gs://, https:// and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from ganpipe.data.sources.base import LARGEST_FILE, Entry, digest_of
from ganpipe.data.sources.folder import ARCHIVES
from ganpipe.data.sources.labels import (
    Table,
    find_table,
    labelled,
    read_table,
    table_paths,
    with_table,
)
from ganpipe.data.sources.store import Store, is_transient, problem, work_in_flight
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError


class Remote:
    """Images below a URL, recursively; hidden files are named, not looked at.

    `labels` is data.labels. The tag of an entry is what the store offers: an ETag, else a
    version, a time or the size. A web server is read through its index pages, and asked for the
    ETag of each file. Raises GanpipeError when the store cannot be read or holds nothing.
    """

    resolution = 0
    classes: list[str] = []  # noqa: RUF012 - the protocol's; names come with the entries

    def __init__(self, url: str, labels: str = "auto") -> None:
        self.store = Store(url)
        self.labels = labels

    @cached_property
    def entries(self) -> list[Entry]:
        files = self._listing[0]
        if not files:
            archive = self.store.shown.lower().endswith(ARCHIVES)
            raise GanpipeError(
                f"data.path={self.store.shown} "
                + ("is an archive: set data.source=archive" if archive else "holds no files: ")
                + ("" if archive else self.store.where_files_are)
            )
        tables = set(table_paths([""]))
        images = (file for file in files if file.status or file.path not in tables)
        return labelled(images, self.labels, self._table)

    def fingerprint(self) -> dict[str, Any]:
        entries = self.entries
        return {
            "source": "folder",
            "count": len(entries),
            "bytes": sum(entry.size for entry in entries),
            "digest": with_table(digest_of(entries), self._table),
        }

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """Payloads as they arrive, up to 16 at a time.

        Raises GanpipeError when the store fails for a while: a file set aside for that would be
        missing for good, since its tag stays the same.
        """
        yield from ((entry, b"") for entry in wanted if entry.status)
        usable = [entry for entry in wanted if not entry.status]
        yield from work_in_flight(self._fetched, usable, lambda entry: entry.size)

    def _fetched(self, entry: Entry) -> tuple[Entry, bytes]:
        try:
            payload = self._fetch(entry.path)
        except FileNotFoundError:
            return entry._replace(status="missing"), b""
        except Exception as error:
            if is_transient(error):
                raise problem(error, f"{self.store.shown}/{shown(entry.path)}") from error
            return entry._replace(status="not-readable"), b""
        if len(payload) > LARGEST_FILE:
            return entry._replace(status="too-large"), b""
        return entry, payload

    def _fetch(self, path: str) -> bytes:
        return self.store.fetch(self._listing[1].get(path, path))

    @cached_property
    def _listing(self) -> tuple[list[Entry], dict[str, str]]:
        return self.store.listed()

    @cached_property
    def _table(self) -> Table | None:
        files = {file.path for file in self._listing[0] if "/" not in file.path and not file.status}
        shown = self.store.shown
        path = find_table(files, [""], self.labels, shown)
        if not path:
            return None
        try:
            payload = self._fetch(path)
        except Exception as error:
            raise problem(error, f"{shown}/{path}") from error
        return read_table(payload, path, self.labels, shown)
