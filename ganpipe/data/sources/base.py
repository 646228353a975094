"""The interface of a source of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Item:
    """One file of a source."""

    path: str
    """Path in the source with forward slashes: its identity, and its place in the order."""
    payload: bytes
    """The file's bytes as they are; empty when they were not read (`status` says why)."""
    label: str = ""
    """Name of its class; empty when the source has no classes."""
    split: str = ""
    """`train` or `test` when the source publishes a split, else empty."""
    status: str = ""
    """Why the source sets the file aside without reading it, else empty."""


class Source(Protocol):
    """A pile of images."""

    @property
    def classes(self) -> list[str]:
        """Class names in the order of their numbers; empty when there are none."""
        ...

    resolution: int
    """Size to train at when data.resolution is 0; 0 keeps the size of the images."""

    def fingerprint(self) -> dict[str, Any]:
        """What tells whether the source has changed: kind, count, bytes, digest. Quick."""
        ...

    def __iter__(self) -> Iterator[Item]:
        """Every file once, ordered by path."""
        ...

    def __len__(self) -> int: ...
