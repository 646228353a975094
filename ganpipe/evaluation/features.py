"""Features of a set of images: one memory-mapped file, written and read in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.files import replacing

Features = NDArray[np.float32]
ROWS = 2048  # feature vectors worked on at a time: 32 MiB in float64 at 2048 features


class FeatureFile:
    """A file of features that is being written. Make it with `writing`."""

    def __init__(self, rows: Features) -> None:
        self.rows, self.count = rows, 0

    def add(self, vectors: Features) -> None:
        """Append features float32 [n, d]. Raises GanpipeError when they are not finite or not d."""
        check(vectors)
        end = self.count + len(vectors)
        if end > len(self.rows) or vectors.shape[1] != self.rows.shape[1]:
            raise ValueError(f"features {vectors.shape} do not fit {self.rows.shape}")
        self.rows[self.count : end] = vectors
        self.count = end


@contextmanager
def writing(path: Path | str, count: int, size: int) -> Iterator[FeatureFile]:
    """Write `count` feature vectors of `size` numbers to a .npy file, float32 [count, size].

    The file appears when the block ends with all of them written, or not at all.
    """
    with replacing(path) as beside:
        rows = open_memmap(beside, mode="w+", dtype=np.float32, shape=(count, size))
        file = FeatureFile(rows)
        yield file
        if file.count != count:
            raise ValueError(f"{path}: {file.count} of {count} feature vectors were written")
        rows.flush()


def read(path: Path | str) -> Features:
    """Features float32 [n, d] of a file, mapped into memory: only what is used is read."""
    if not Path(path).exists():
        raise GanpipeError(f"{path} is missing: run the stage that extracts features again")
    rows: Features = np.load(path, mmap_mode="r", allow_pickle=False)
    if rows.ndim != 2 or rows.dtype != np.float32:
        raise GanpipeError(
            f"{path} holds {rows.dtype} {list(rows.shape)}, features are float32 [n, d]: "
            f"delete it and extract them again"
        )
    return rows


def blocks(features: NDArray[Any], rows: int = ROWS) -> Iterator[NDArray[Any]]:
    """The features in their order, `rows` of them at a time."""
    for first in range(0, len(features), rows):
        yield np.asarray(features[first : first + rows])


def some(features: Features, most: int, seed: int, purpose: str) -> Features:
    """All features, or `most` of them chosen by the seed, in their order: float32 [<= most, d]."""
    if len(features) <= most:
        return features
    chosen = np.sort(randomness.permutation(seed, purpose, 0, len(features))[:most])
    return np.asarray(features[chosen])


def check(vectors: NDArray[Any]) -> None:
    """Raises GanpipeError when a feature is NaN or infinite."""
    if not np.isfinite(vectors).all():
        raise GanpipeError(
            "the feature network gave NaN or infinite features: the images or the network's "
            "weights are damaged; compare evaluate.precision=float32"
        )


def check_pair(first: NDArray[Any], second: NDArray[Any], least: int = 2) -> None:
    """Raises GanpipeError for features of two networks, or of fewer than `least` images a side."""
    same_size(first.shape[1], second.shape[1])
    if fewer := [len(side) for side in (first, second) if len(side) < least]:
        raise GanpipeError(
            f"this measure needs at least {least} images on each side, there are {fewer[0]}: "
            f"raise evaluate.samples or add images"
        )


def same_size(first: int, second: int) -> None:
    """Raises GanpipeError when feature vectors have different sizes."""
    if first != second:
        raise GanpipeError(
            f"features of {first} numbers cannot be compared with features of {second}: "
            f"take both sets through the same feature network"
        )
