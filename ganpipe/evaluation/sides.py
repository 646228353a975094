"""The sides of a score: each set of images with its features, or somebody's statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.evaluation import features as stored
from ganpipe.evaluation.classifier import Read
from ganpipe.evaluation.distances import Moments, moments_of
from ganpipe.evaluation.extractors import Extractor
from ganpipe.evaluation.features import Features
from ganpipe.evaluation.sets import ImageSet, Statistics, check_room
from ganpipe.events import progress

BLOCK = 256
STATISTICS = "needs images, and of one side only statistics are known"
FEW_SAMPLES = 2_000
NO_NUMBER = "the distance is no number: the samples are damaged"


@dataclass(frozen=True)
class Side:
    """One set, as far as it is known."""

    name: str
    """Where it came from."""
    moments: Moments
    sha256: str
    """Of the pixels of the images that were compared, or of the statistics."""
    features: Features | None = None
    images: ImageSet | None = None
    """None where only statistics are known."""
    numbers: NDArray[np.int64] | None = None
    """Which of the images were compared: int64 [n]."""
    alike: bool = False
    """Whether all images are the same one."""

    @property
    def chosen(self) -> NDArray[np.int64]:
        return np.empty(0, np.int64) if self.numbers is None else self.numbers

    @property
    def classes(self) -> list[str]:
        return [] if self.images is None else self.images.classes

    def labels(self, classes: list[str]) -> NDArray[np.int64] | None:
        """Their class numbers as places in `classes`, which are the set's own in any order."""
        if self.images is None or self.images.labels is None:
            return None
        places = np.array([classes.index(name) for name in self.images.classes], np.int64)
        return places[self.images.labels[self.chosen]]


def chosen(
    found: ImageSet, samples: int, seed: int, purpose: str, fewer: bool = False
) -> NDArray[np.int64]:
    """The numbers of the images to compare: all, or `samples` of them in their order.

    Raises GanpipeError when there are fewer and `fewer` is not allowed, or fewer than 2.
    """
    least = 2 if fewer else max(2, samples)
    if found.count < 2:
        raise GanpipeError(f"{found.name} holds 1 image, at least 2 are to be compared: bring more")
    if found.count < least:
        raise GanpipeError(
            f"{found.name} holds {found.count} images, {least} are to be compared: "
            "bring more, or lower --samples"
        )
    return subset(seed, purpose, found.count, samples or found.count)


def subset(seed: int, purpose: str, count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` numbers, chosen by seed and purpose, in their order."""
    if most >= count:
        return np.arange(count)
    return np.sort(randomness.permutation(seed, purpose, 0, count)[:most])


def of_statistics(found: Statistics) -> Side:
    """A side of which somebody's mean and covariance are known."""
    moments = Moments(len(found.mean), count=2)  # so that its covariance is what was given
    moments.mean, moments.scatter = found.mean, found.covariance
    digest = hashlib.sha256(found.mean.tobytes() + found.covariance.tobytes())
    return Side(found.name, moments, digest.hexdigest())


def of_images(
    found: ImageSet, numbers: NDArray[np.int64], extractor: Extractor, path: Path, stage: str
) -> Side:
    """A side whose features are taken and kept in the file `path`."""
    height, width, channels = found.shape
    pixels = min(32, height) * min(32, width) * channels
    check_room(path.parent, len(numbers) * (4 * extractor.features + pixels), found.name)
    digest = hashlib.sha256()
    alike, first = True, found.read(numbers[:1])
    with (
        stored.writing(path, len(numbers), extractor.features) as file,
        progress(stage, f"features of {found.name}", len(numbers)) as bar,
    ):
        for part in _blocks(found, numbers):
            digest.update(part.tobytes())
            alike = alike and bool((part == first).all())
            file.add(extractor(part))
            bar.advance(len(part))
    features = stored.read(path)
    moments = moments_of(features)
    return Side(found.name, moments, digest.hexdigest(), features, found, numbers, alike)


def _blocks(images: ImageSet, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    for first in range(0, len(numbers), BLOCK):
        yield images.read(numbers[first : first + BLOCK])


def other_classes(sides: list[Side]) -> str:
    """Why the sets cannot be compared by class; empty where they have the same ones."""
    known = set().union(*(side.classes for side in sides))
    if not known:
        return "the sets have no classes"
    for side in sides:
        if side.images is None:
            return STATISTICS
        if not side.classes:
            return f"{side.name} has no classes"
        if lacking := sorted(known - set(side.classes)):
            return (
                f"{side.name} has no images of {listed(lacking)}: bring some, or leave such "
                "images out of the other sets"
            )
    return ""


def channels_of(sides: list[Side]) -> int:
    """Channels that the images of all sides can be read with: grey beside colour becomes RGB."""
    return max((side.images.shape[2] for side in sides if side.images is not None), default=1)


def reader(images: ImageSet, numbers: NDArray[np.int64], channels: int) -> Read:
    """The images that were compared, by their places among those, with so many channels."""

    def read(places: NDArray[np.int64]) -> NDArray[np.uint8]:
        found = images.read(numbers[places])
        return found if found.shape[3] == channels else np.repeat(found, channels, axis=3)

    return read


def few(count: int, features: int) -> list[str]:
    """Warnings for a set of few images."""
    told = []
    if count < FEW_SAMPLES:
        told.append(
            f"{count:,} images are few for {features:,} features: compare "
            f"this distance only with others of the same protocol"
        )
    if count <= features:
        told.append(
            f"{count:,} images span fewer directions than the {features:,} features have: the "
            "covariance is singular, and the distance says little about the directions left out"
        )
    return told


def warnings(pair: list[Side], others: list[Side], distance: float) -> list[str]:
    """What should keep people from reading too much into a score of `pair`."""
    told = [] if np.isfinite(distance) else [NO_NUMBER]
    known = []
    for number, side in enumerate([*pair, *others]):
        if (images := side.images) is None:
            told.append(
                f"{side.name}: of statistics the resize, the weights and the number of images "
                "behind them are unknown, and NVIDIA's tools divide the covariance by n where "
                "others divide by n - 1"
            )
            continue
        known.append(images)
        more = few(len(side.chosen), side.moments.features) if number < len(pair) else []
        if images.left_out:
            named = listed(images.left_out)
            total = f"{len(images.left_out):,}"
            more.append(f"left out {total} files that are no single, readable image: {named}")
        if side.alike:
            more.append("its images are all alike, so their spread is nought")
        told += [f"{images.name}: {each}" for each in more]
    real = pair[1]
    if others and real.images is not None and len(real.chosen) < real.images.count:
        told.append(
            f"{real.name}: copies of {real.images.count - len(real.chosen):,} of its "
            f"{real.images.count:,} images cannot be seen: --samples leaves these out"
        )
    for images in known[1:]:
        if images.shape[:2] != known[0].shape[:2]:
            told.append(
                f"{known[0].name} has images of {_size(known[0])} pixels and {images.name} of "
                f"{_size(images)}: what they are compared by tells that too"
            )
    return told


def _size(images: ImageSet) -> str:
    return f"{images.shape[1]} x {images.shape[0]}"


def listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
