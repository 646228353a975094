"""What an archive holds, and how far it may unfold."""

from __future__ import annotations

from dataclasses import dataclass

from ganpipe.data.sources.names import is_unsafe, plain, text_of

LARGEST_FOLD = 1000
"""An archive, or a member of one, that unfolds to more than so many times its bytes is a bomb."""


class DamagedArchiveError(ValueError):
    """The archive as a whole cannot be understood; says why, its reader knows the name."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file in an archive, as the archive describes it: nothing here is to be trusted."""

    name: str
    size: int
    """Bytes, unfolded."""
    start: int
    """Where it lies: of its header in a zip, of its data in the unfolded tar."""
    status: str = ""
    """Why it is set aside without reading it, else empty."""
    packed: int = 0
    """Bytes in the archive (zip)."""
    method: int = 0
    """How it is compressed (zip)."""
    crc: int = 0
    """CRC-32 of its bytes (zip)."""


def named(raw: bytes) -> tuple[str, str]:
    """The name of a member as text, and `unsafe-name` or nothing."""
    name = text_of(raw)
    return (name or "unnamed", "unsafe-name") if is_unsafe(name) else (plain(name), "")
