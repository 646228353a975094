"""Where a sequence of files is cut into shards: a pure function of paths and sizes.

A cut falls where a hash of the path says so, within size limits, so that files added or removed
in one place move only the cuts near them, and DVC uploads only the shards that they touch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SHARD_BYTES = 256 * 2**20


def cuts(files: Iterable[tuple[str, int]], limit: int = SHARD_BYTES) -> list[tuple[int, int]]:
    """Half-open ranges [start, stop) of file numbers, one for each shard.

    `files` are (path, bytes) in order. No shard exceeds `limit` bytes unless it is one file;
    beyond a quarter of the limit, each byte is as likely as any other to be the last, with a
    mean of another quarter.
    """
    quarter = limit / 4
    ranges: list[tuple[int, int]] = []
    start, filled, number = 0, 0, -1
    for number, (path, size) in enumerate(files):
        if filled and filled + size > limit:
            ranges.append((start, number))
            start, filled = number, 0
        filled += size
        if filled >= quarter and _unit(path) < size / quarter:
            ranges.append((start, number + 1))
            start, filled = number + 1, 0
    if start <= number:
        ranges.append((start, number + 1))
    return ranges


def _unit(path: str) -> float:
    """A number in [0, 1) that only the path decides."""
    digest = hashlib.blake2b(path.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
