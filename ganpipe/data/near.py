"""Near duplicates: images whose 64-bit perceptual hashes differ in few bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

_PAIRS_AT_ONCE = 2**22


def near_duplicates(
    hashes: NDArray[np.uint64],
    sides: Sequence[str],
    labels: Sequence[str],
    distance: int,
    *,
    across: bool,
) -> dict[int, int]:
    """Which images repeat an earlier one: number of the repeating image -> number of the kept one.

    `hashes` uint64 [n] in the order that decides who is earlier; `sides` (`train` or `test`) and
    `labels` of each. An image is set aside when a kept earlier one is within `distance` bits and
    on the other side, whatever its class, or without `across` also when it is of the same class:
    the hash is of shapes alone, and colours may be what tells classes apart. Set-aside images
    set nothing else aside.
    """
    unique, which = np.unique(hashes, return_inverse=True)
    neighbours = _neighbours(unique, distance)
    kept: dict[int, dict[tuple[str, str], int]] = {}
    repeats: dict[int, int] = {}
    for number, (group, side, label) in enumerate(zip(which.tolist(), sides, labels, strict=True)):
        earlier = [
            first
            for near in (group, *neighbours.get(group, ()))
            for (its_side, its_label), first in kept.get(near, {}).items()
            if its_side != side or (not across and its_label == label)
        ]
        if earlier:
            repeats[number] = min(earlier)
        else:
            kept.setdefault(group, {}).setdefault((side, label), number)
    return repeats


def _neighbours(hashes: NDArray[np.uint64], distance: int) -> dict[int, list[int]]:
    """For each of some different hashes the numbers of those within `distance` bits."""
    found: dict[int, list[int]] = {}
    for left, right in _candidates(hashes, distance):
        close = np.bitwise_count(hashes[left] ^ hashes[right]) <= distance
        for a, b in zip(left[close].tolist(), right[close].tolist(), strict=True):
            found.setdefault(a, []).append(b)
            found.setdefault(b, []).append(a)
    return {number: sorted(set(others)) for number, others in found.items()}


def _candidates(
    hashes: NDArray[np.uint64], distance: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs that share one of `distance + 1` bands of bits: all pairs within the distance do.

    Pigeonhole: as many differing bits as `distance` leave one band untouched (Norouzi, Punjani
    and Fleet, "Fast search in Hamming space with multi-index hashing", CVPR 2012).
    """
    edges = np.linspace(0, 64, distance + 2).astype(int)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        band = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=~band[order[:1]]))
        for bucket in np.split(order, starts[1:]):
            yield from _pairs(bucket)


def _pairs(bucket: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs within a bucket, some millions at a time."""
    rows = max(1, _PAIRS_AT_ONCE // max(len(bucket), 1))
    for first in range(0, len(bucket) - 1, rows):
        block = bucket[first : first + rows]
        left = np.repeat(block, len(bucket) - first)
        right = np.tile(bucket[first:], len(block))
        wanted = np.repeat(np.arange(len(block)), len(bucket) - first) < np.tile(
            np.arange(len(bucket) - first), len(block)
        )
        yield left[wanted], right[wanted]
