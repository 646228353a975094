"""Memorisation of a set of images, by features and by pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.features import Features
from ganpipe.evaluation.memorisation import NEIGHBOURS, Closeness, closeness, reduced
from ganpipe.evaluation.verdict import (
    Copies,
    Verdict,
    exact_copies,
    fingerprints,
    verdict,
)
from ganpipe.events import progress

BLOCK = 1024
FEATURES, PIXELS = "features", "pixels"
LEAST_TEST = 20


@dataclass(frozen=True)
class Copying:
    """What is known of copied training images."""

    features: Closeness
    pixels: Closeness | None
    """None where the two sets have images of different sizes."""
    copies: Copies
    verdict: Verdict

    @property
    def numbers(self) -> dict[str, float]:
        """Flat numbers, such as `copied_features`."""
        found: dict[str, float] = {"copies_exact": float(self.copies.generated)}
        for side in (self.features, self.pixels):
            if side is not None:
                found |= {
                    f"closer_{side.space}": side.closer.excess,
                    f"singled_out_{side.space}": side.singled_out.excess,
                    f"auth_pct_{side.space}": side.auth_pct,
                    f"c_t_{side.space}": side.c_t,
                }
        return found


@dataclass(frozen=True)
class Images:
    """Images, or some of them, that are read a block at a time."""

    all: Any
    """What `read` indexes: an array, or a data set's `batch`."""
    numbers: NDArray[np.int64]

    def blocks(self) -> Iterator[NDArray[np.uint8]]:
        for first in range(0, len(self.numbers), BLOCK):
            yield self.all(self.numbers[first : first + BLOCK])


def copying(
    train: Images,
    test: Images,
    made: Images,
    features: tuple[Features, Features, Features],
    *,
    seed: int,
    folder: Path,
    stage: str = "evaluate",
) -> Copying | str:
    """Compare generated with training and unseen images, or say why that cannot be.

    `features` are those of (some) training images, test images and the generated ones;
    pixels are compared with all of `train`. Files are kept in `folder`.
    """
    known, unseen, ours = features
    if len(unseen) < LEAST_TEST:
        return (
            f"needs {LEAST_TEST} images that were not trained on, there are {len(unseen)}: "
            "raise data.test_fraction"
        )
    if len(known) <= NEIGHBOURS:
        return f"needs more than {NEIGHBOURS} training images"
    total = len(unseen) + len(ours)
    with progress(stage, "nearest training images by features", 2 * total) as bar:
        by_features = closeness(known, unseen, ours, space=FEATURES, seed=seed, advance=bar.advance)
    prints, pixels = [], []
    for name, images in (("train", train), ("test", test), ("made", made)):
        one, other = _read(images, folder / f"pixels-{name}.npy")
        prints.append(one)
        pixels.append(other)
    by_pixels = None
    if len({part.shape[1] for part in pixels}) == 1:
        with progress(stage, "nearest training images by pixels", 2 * total) as bar:
            by_pixels = closeness(*pixels, space=PIXELS, seed=seed, advance=bar.advance)
    copies = exact_copies(*prints)
    spaces = [each for each in (by_features, by_pixels) if each is not None]
    return Copying(by_features, by_pixels, copies, verdict(spaces, copies, len(train.numbers)))


def _read(images: Images, path: Path) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Fingerprints of images, and their pixels as they are compared, mapped from a file."""
    prints: list[NDArray[np.uint64]] = []
    pixels: NDArray[np.uint8] | None = None
    done = 0
    for block in images.blocks():
        prints.append(fingerprints(block))
        small = reduced(block)
        if pixels is None:
            shape = (len(images.numbers), small.shape[1])
            pixels = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        pixels[done : done + len(small)] = small
        done += len(small)
    if pixels is None:
        pixels = np.empty((0, 0), np.uint8)
    return np.concatenate(prints), pixels
