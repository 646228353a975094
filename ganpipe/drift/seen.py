"""Which files earlier watches have counted, by what the source's listing says of them.

Path, size and tag (a time of change, an ETag), as ingest does: the bytes of a million images
need not be read to find out that none is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources import Entry
from ganpipe.files import replacing

Marks = NDArray[np.uint64]


def marks(entries: Sequence[Entry]) -> Marks:
    """A number for each entry, another one as soon as its content may be another: uint64 [n]."""
    told = (f"{entry.path}\0{entry.size}\0{entry.tag}" for entry in entries)
    digests = (
        hashlib.blake2b(each.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for each in told
    )
    return np.frombuffer(b"".join(digests), np.uint64)


def read(path: Path) -> Marks:
    """What `write` kept; nothing where nothing was, or where it is damaged."""
    try:
        found: Marks = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return np.empty(0, np.uint64)
    return found


def write(path: Path, found: Marks) -> None:
    """Keep the marks of all files of a source: 8 bytes each."""
    with replacing(path) as beside, beside.open("wb") as file:
        np.save(file, np.unique(found))
