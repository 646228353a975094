"""Where images are written: a folder that appears whole, or a place behind a URL.

Files may come in any order and be written again; what counts is what the notes in UNFINISHED say,
and that DESCRIPTION is the last file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ganpipe.data.sources.folder import local_path
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    from ganpipe.generation.remote import Remote

DESCRIPTION = "generation.json"
UNFINISHED = ".unfinished"
AGAIN = "start the same command again, and it goes on where it was"


class Place(Protocol):
    """What a destination can do. All raise GanpipeError where it cannot be read or written."""

    shown: str

    def finished(self) -> dict[str, int]:
        """Files that lie at the destination, with their bytes."""
        ...

    def description(self) -> Any:
        """DESCRIPTION as it lies at the destination; None without one."""
        ...

    def begun(self) -> dict[str, int]:
        """Files of unfinished work, with their bytes."""
        ...

    def noted(self, name: str) -> Any:
        """A note of unfinished work; None without one."""
        ...

    def note(self, name: str, value: Any) -> None:
        """Write a note, whole or not at all."""
        ...

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write files by their names; on the disk when this returns."""
        ...

    def stream(self, name: str, content: Iterable[bytes]) -> None:
        """Write one file that need not fit into memory."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove files of unfinished work."""
        ...

    def publish(self) -> None:
        """Unfinished work becomes what lies at the destination; its notes go."""
        ...

    def close(self) -> None: ...


def open_place(destination: str) -> Place:
    """The place that a folder's path or a URL names."""
    from ganpipe.generation.folder import Folder

    return _remote(destination) if _is_remote(destination) else Folder(local_path(destination))


def read_file(destination: str, name: str) -> bytes:
    """A file that was written to a destination. Raises GanpipeError where it is not there."""
    if _is_remote(destination):
        content = _remote(destination).read(name)
    else:
        path = local_path(destination) / name
        content = path.read_bytes() if path.is_file() else None
    if content is None:
        raise GanpipeError(f"{destination} has no {name} any more")
    return content


def _is_remote(destination: str) -> bool:
    return "://" in destination and not destination.startswith("file://")


def _remote(url: str) -> Remote:
    from ganpipe.generation.remote import Remote

    return Remote(url)
