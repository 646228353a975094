"""The interface of a source of images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

HIDDEN = "hidden"  # status of what the system or the owner keeps out of sight
LARGEST_FILE = 2**29  # bytes: no picture to learn from is above half a GiB


class Entry(NamedTuple):
    """One image file of a source, as its listing tells without reading it."""

    path: str
    """Path in the source with forward slashes: its identity, and its place in the order."""
    size: int
    """Bytes, as far as the listing knows."""
    tag: str
    """Changes whenever the content does: a time of change, an ETag, a digest."""
    label: str = ""
    """Name of its class; empty when the source says none."""
    split: str = ""
    """`train` or `test` when the source publishes a split, else empty."""
    caption: str = ""
    """What the source says is to be seen; empty when it says nothing."""
    status: str = ""
    """Why the source sets the file aside (unread, or it could not be read), else empty."""


class Source(Protocol):
    """A pile of images."""

    resolution: int
    """Size to train at when data.resolution is 0; 0 keeps the size of the images."""

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their numbers, where the source fixes one; else empty."""
        ...

    @property
    def entries(self) -> Sequence[Entry]:
        """Every file once, ordered by path (code points). Listed once, then kept."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """What tells whether the source has changed. Quick: nothing is decoded.

        Keys: `source` (its kind), `count` (files looked at: images, archives), `bytes`, `digest`.
        """
        ...

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        """The bytes of some entries, each once, in the order that is cheapest to read.

        A file that cannot be read comes with empty bytes, and as a copy of its entry whose
        status says why. Memory stays flat: payloads are made one by one.
        """
        ...


def digest_of(entries: Iterable[Entry]) -> str:
    """sha256 over everything that a listing says."""
    digest = hashlib.sha256()
    for entry in entries:
        digest.update("\0".join((*map(str, entry), "\n")).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
