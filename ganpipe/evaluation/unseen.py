"""Real images that no generator was trained on beside those that were: known before any model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.classifier import Read
from ganpipe.evaluation.features import Features, some
from ganpipe.evaluation.neighbours import nearest
from ganpipe.events import progress

NEIGHBOURS = 7  # of each image: shown in strips, and what "alone" is measured by
CELLS = 3
LEAST_TEST = 20
FEATURES, PIXELS = "features", "pixels"

_BLOCK = 1024
_SIDE = 32
_CELL_ROWS, _CELL_ROUNDS = 10_000, 20
_PARTS = ("distances", "numbers", "gaps", "centres", "cells")

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """Images, or some of them, that are read a block at a time."""

    read: Read
    numbers: NDArray[np.int64]

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        for first in range(0, len(self.numbers), _BLOCK):
            yield self.read(self.numbers[first : first + _BLOCK])


@dataclass(frozen=True)
class Near:
    """Test images beside the training images in one space."""

    distances: Vector
    """Of each test image to its nearest training images: float64 [m, k]."""
    numbers: NDArray[np.int64]
    """Which rows of the training images these are: int64 [m, k]."""
    gaps: Vector
    """Distance of training images to their nearest other one: float64 [n], NaN where no test
    image has asked for it."""
    centres: Vector
    """Of the cells of training images: float64 [cells, d]."""
    cells: NDArray[np.int64]
    """The cell of each test image: int64 [m]."""


@dataclass(frozen=True)
class Unseen:
    """Test beside training images in both spaces, and fingerprints for exact copies."""

    features: Near
    pixels: Near | None
    """None where the two sets have images of different sizes."""
    train: NDArray[np.uint64]
    test: NDArray[np.uint64]


def near(
    train: NDArray[Any],
    test: NDArray[Any],
    *,
    k: int = NEIGHBOURS,
    cells: int = CELLS,
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Near:
    """Compare rows [n, d] and [m, d]: features float32, or pixels as `reduced` gives them.

    Memory grows with m by k numbers and with n by one, beside blocks. Progress comes to at most
    2 * m. Raises GanpipeError when there are fewer than k + 1 training images or no test ones,
    or when a feature is not finite.
    """
    if not len(test):
        raise GanpipeError(
            "memorisation compares generated with test images, and there are none: set "
            "data.test_fraction above 0"
        )
    if len(train) <= k:
        raise GanpipeError(f"{k} nearest neighbours need {k + 1} training images: {len(train)}")
    distances, numbers = nearest(test, train, k, advance)
    gaps = own_gaps(train, numbers[:, 0], np.full(len(train), np.nan), advance)
    centres = _centres(train, cells, seed)
    return Near(distances, numbers, gaps, centres, cells_of(test, centres))


def own_gaps(
    train: NDArray[Any],
    rows: NDArray[np.int64],
    known: Vector,
    advance: Callable[[int], None] | None = None,
) -> Vector:
    """Distance to the nearest other training image, of `rows` too: float64 [n], NaN elsewhere."""
    gaps = known.copy()
    rows = np.unique(rows)
    rows = rows[np.isnan(gaps[rows])]
    for first in range(0, len(rows), _BLOCK):
        some_rows = rows[first : first + _BLOCK]
        # the nearest one is the image itself, or its equal: either way the second is another
        gaps[some_rows] = nearest(train[some_rows], train, 2, advance)[0][:, 1]
    return gaps


def cells_of(rows: NDArray[Any], centres: Vector) -> NDArray[np.int64]:
    """The number of the nearest centre of each row: int64 [n]."""
    return nearest(rows, centres, 1)[1][:, 0]


def _centres(train: NDArray[Any], cells: int, seed: int) -> Vector:
    """Of k-means cells: Lloyd's rounds on at most 10,000 training images."""
    rows = some(train, _CELL_ROWS, seed, "memorisation/cells")
    centres = some(rows, cells, seed, "memorisation/centres").astype(np.float64)
    for _ in range(_CELL_ROUNDS):
        own = cells_of(rows, centres)
        for number in np.unique(own):
            centres[number] = rows[own == number].mean(axis=0, dtype=np.float64)
    return centres


def unseen_side(
    train: Images,
    test: Images,
    features: tuple[Features, Features],
    *,
    seed: int,
    folder: Path,
    stage: str = "reference",
) -> Unseen | str:
    """Everything about real images that memorisation is judged by, or why it cannot be.

    `features` are those of (some) training images and of the test images; pixels are compared
    with all of `train`. Files are kept in `folder`.
    """
    known, others = features
    if len(others) < LEAST_TEST:
        return (
            f"needs {LEAST_TEST} images that were not trained on, there are {len(others)}: "
            "raise data.test_fraction"
        )
    if len(known) <= NEIGHBOURS:
        return f"needs more than {NEIGHBOURS} training images"
    with progress(stage, "unseen images among features", 2 * len(others)) as bar:
        by_features = near(known, others, seed=seed, advance=bar.advance)
    pixels = [
        pixels_of(images, folder / name)
        for name, images in (("pixels-train.npy", train), ("pixels-test.npy", test))
    ]
    by_pixels = None
    if pixels[0].shape[1] == pixels[1].shape[1]:
        with progress(stage, "unseen images among pixels", 2 * len(others)) as bar:
            by_pixels = near(*pixels, seed=seed, advance=bar.advance)
    return Unseen(by_features, by_pixels, fingerprints(train), fingerprints(test))


def write_unseen(path: Path, unseen: Unseen) -> None:
    """Write it to a safetensors file."""
    arrays: dict[str, NDArray[Any]] = {"train": unseen.train, "test": unseen.test}
    for space, side in ((FEATURES, unseen.features), (PIXELS, unseen.pixels)):
        if side is not None:
            arrays |= {f"{space}.{part}": getattr(side, part) for part in _PARTS}
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read_unseen(path: Path) -> Unseen:
    """What write_unseen wrote."""
    arrays = load_file(path)

    def side(space: str) -> Near:
        return Near(*(arrays[f"{space}.{part}"] for part in _PARTS))

    pixels = side(PIXELS) if f"{PIXELS}.gaps" in arrays else None
    return Unseen(side(FEATURES), pixels, arrays["train"], arrays["test"])


def pixels_of(images: Images, path: Path) -> NDArray[np.uint8]:
    """Pixels as they are compared, uint8 [n, d], mapped from a file that is written at `path`."""
    pixels = np.empty((0, 0), np.uint8)
    done = 0
    for block in images.blocks():
        small = reduced(block)
        if not done:
            shape = (len(images.numbers), small.shape[1])
            pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        pixels[done : done + len(small)] = small
        done += len(small)
    return pixels


def fingerprints(images: Images) -> NDArray[np.uint64]:
    """A hash of each image's bytes, uint64 [n]: equal for exact copies."""
    digests = [
        hashlib.blake2b(image.tobytes(), digest_size=8).digest()
        for block in images.blocks()
        for image in block
    ]
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def reduced(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels to compare: uint8 [n, H, W, C] to uint8 [n, d], area-averaged to at most 32x32."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    count, height, width, _ = images.shape
    if max(height, width) <= _SIDE:
        return images.reshape(count, -1)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    small = adaptive_avg_pool2d(pixels, (min(height, _SIDE), min(width, _SIDE)))
    return small.round().to(torch.uint8).permute(0, 2, 3, 1).reshape(count, -1).numpy()
