"""Images below a URL of any file system that fsspec knows: s3://, gs://, https:// and others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from ganpipe.data.sources.base import LARGEST_FILE, Entry
from ganpipe.data.sources.folder import ARCHIVES
from ganpipe.data.sources.pile import Pile
from ganpipe.data.sources.store import Store, is_transient, problem, work_in_flight
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError


class Remote(Pile):
    """Images below a URL.

    `labels` is data.labels. The tag of an entry is what the store offers: an ETag, else a
    version, a time or the size. A web server is read through its index pages, and asked for the
    ETag of each file. Raises GanpipeError when the store cannot be read or holds nothing.
    """

    def __init__(self, url: str, labels: str = "auto") -> None:
        self.store = Store(url)
        self.labels, self.shown = labels, self.store.shown

    @property
    def files(self) -> list[Entry]:
        return self._listing[0]

    def payload(self, path: str) -> bytes:
        return self.store.fetch(self._listing[1].get(path, path))

    def nothing(self) -> GanpipeError:
        archive = self.shown.lower().endswith(ARCHIVES)
        why = "is an archive: set data.source=archive"
        return GanpipeError(
            f"data.path={self.shown} "
            + (why if archive else f"holds no files: {self.store.where_files_are}")
        )

    def unread(self, path: str, error: Exception) -> GanpipeError:
        return problem(error, f"{self.shown}/{shown(path)}")

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
            payload = self.payload(entry.path)
        except FileNotFoundError:
            return entry._replace(status="missing"), b""
        except Exception as error:
            if is_transient(error):
                raise self.unread(entry.path, error) from error
            return entry._replace(status="not-readable"), b""
        if len(payload) > LARGEST_FILE:
            return entry._replace(status="too-large"), b""
        return entry, payload

    @cached_property
    def _listing(self) -> tuple[list[Entry], dict[str, str]]:
        return self.store.listed()
