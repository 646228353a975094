"""Generated images and their features, kept in files while they are measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation import features as stored
from ganpipe.evaluation.extractors import Extractor
from ganpipe.evaluation.features import Features
from ganpipe.events import progress
from ganpipe.networks import Generator, sample
from ganpipe.networks.generator import drawn_labels

BLOCK = 256  # images sampled and measured at a time
PURPOSE = "evaluate"


@dataclass(frozen=True)
class Made:
    """What is measured of a generator, or of any other set."""

    images: NDArray[np.uint8]
    """uint8 [n, H, W, C], mapped from a file."""
    features: Features
    labels: NDArray[np.int64] | None
    """The classes that were asked for, int64 [n]."""


def samples_of(
    generator: Generator, extractor: Extractor, count: int, seed: int, folder: Path
) -> Made:
    """Sample `count` images and take their features; both are kept in files in `folder`."""
    config = generator.config
    shape = (count, config.image_height, config.image_width, config.image_channels)
    images = np.lib.format.open_memmap(
        folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape
    )
    with (
        stored.writing(folder / "features.npy", count, extractor.features) as file,
        progress("evaluate", "features of generated images", count) as bar,
    ):
        for first, made in blocks(generator, count, seed, PURPOSE):
            images[first : first + len(made)] = made
            file.add(extractor(made))
            bar.advance(len(made))
    labels = drawn_labels(generator, seed, PURPOSE, 0, count)
    return Made(images, stored.read(folder / "features.npy"), labels)


def blocks(
    generator: Generator, count: int, seed: int, purpose: str, block: int = BLOCK
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Samples number 0 to count - 1, a block at a time with the number of its first."""
    for first in range(0, count, block):
        yield (
            first,
            sample(generator, min(block, count - first), seed, purpose=purpose, first=first),
        )


def all_alike(parts: Iterable[NDArray[np.uint8]]) -> bool:
    """Whether all images of all parts are the same one; looks no further than the first other."""
    first: NDArray[np.uint8] | None = None
    for images in parts:
        first = images[0] if first is None else first
        if (images != first).any():
            return False
    return True
