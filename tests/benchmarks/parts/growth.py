"""What DVC uploads anew when a source grows or shrinks by a hundredth: cuts of paths and sizes.

No image is needed: a shard is decided by the paths and contents of its members, so a shard that
holds the same (path, size) pairs as before is not uploaded again.
"""

from __future__ import annotations

from statistics import median

import numpy as np

from ganpipe.data.pack import SHARD_BYTES
from ganpipe.data.shards import cuts
from tests.benchmarks.figures import Figure, Place
from tests.benchmarks.photographs import CELEBA

FOLDERS = 100
Files = list[tuple[str, int]]
# the change, and how many shards beyond the growth are promised for it
CHANGES = {
    "1 % added at the end": 2.0,
    "1 % added in one sub-folder": 2.0,
    "1 % added scattered": None,
    "1 % deleted in one place": None,
    "1 % deleted scattered": None,
}


def measure(place: Place) -> list[Figure]:
    """CelebA's count of 9 kB and two million of 100 kB, the medians over several random draws."""
    sets = (
        (place.size(CELEBA, 20_000), 9_000, place.size(20, 1)),
        (place.size(2_000_000, 20_000), 100_000, place.size(6, 1)),
    )
    return [figure for each in sets for figure in _figures(*each)]


def _figures(count: int, size: int, repetitions: int) -> list[Figure]:
    name = f"{count:,} x {size // 1000} kB"
    uploads: dict[str, list[float]] = {change: [] for change in CHANGES}
    beyond: dict[str, list[float]] = {change: [] for change in CHANGES}
    means, numbers = [], []
    for seed in range(repetitions):
        random = np.random.default_rng(seed)
        before = _files(count, size, random)
        total = sum(each for _, each in before)
        shards = _shards(before)
        means.append(total / len(shards))
        numbers.append(float(len(shards)))
        for change in CHANGES:
            after, growth = _changed(before, change, size, random)
            again = sum(_bytes(each) for each in _shards(after) - shards)
            uploads[change].append(again / total)
            beyond[change].append((again - growth) / means[-1])
    figures = [
        Figure(f"{name}: shards", median(numbers), "", samples=numbers),
        Figure(f"{name}: mean shard", median(means) / 2**20, "MiB", samples=means),
    ]
    for change, most in CHANGES.items():
        figures += [
            Figure(f"{name}, {change}: uploaded", median(uploads[change]), "of all bytes"),
            Figure(
                f"{name}, {change}: beyond the growth",
                median(beyond[change]),
                "shards",
                ceiling=most,
                samples=beyond[change],
            ),
            Figure(f"{name}, {change}: beyond, at worst", max(beyond[change]), "shards"),
        ]
    return figures


def _files(count: int, size: int, random: np.random.Generator) -> Files:
    """Paths in FOLDERS sub-folders, in order, of random sizes about `size`."""
    sizes = random.lognormal(np.log(size) - 0.08, 0.4, count).astype(int).tolist()
    each = -(-count // FOLDERS)
    return [(f"{n // each:03d}/{n % each:07d}.jpg", size) for n, size in enumerate(sizes)]


def _changed(
    before: Files, change: str, size: int, random: np.random.Generator
) -> tuple[Files, int]:
    """Files after a change, and the bytes that are new to it."""
    count, some = len(before), len(before) // 100
    what, _, where = change.removeprefix("1 % ").partition(" ")
    if what == "deleted":
        first = int(random.integers(count - some))
        gone = random.choice(count, some, replace=False) if where == "scattered" else None
        lost = set(range(first, first + some) if gone is None else gone.tolist())
        return [file for number, file in enumerate(before) if number not in lost], 0
    new = _files(some, size, random)
    if where == "at the end":
        added = [(f"{FOLDERS:03d}/{path}", size) for path, size in new]
    elif where == "in one sub-folder":
        folder = int(random.integers(FOLDERS))
        added = [(f"{folder:03d}/new/{path}", size) for path, size in new]
    else:
        beside = random.choice(count, some, replace=False).tolist()
        added = [
            (f"{before[n][0]}-new.jpg", size) for n, (_, size) in zip(beside, new, strict=True)
        ]
    return sorted(before + added), sum(size for _, size in added)


def _shards(files: Files) -> set[tuple[tuple[str, int], ...]]:
    return {tuple(files[start:stop]) for start, stop in cuts(files, SHARD_BYTES)}


def _bytes(shard: tuple[tuple[str, int], ...]) -> int:
    return sum(size for _, size in shard)
