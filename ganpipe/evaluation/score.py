"""Any two sets of images compared: `ganpipe score`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.evaluation import features as stored
from ganpipe.evaluation.classifier import Read
from ganpipe.evaluation.comparison import (
    Comparison,
    Real,
    compare,
    numbers_of,
    real_side,
)
from ganpipe.evaluation.copying import Copying, Images, copying
from ganpipe.evaluation.describe import Found, measures
from ganpipe.evaluation.distances import Moments, frechet_distance, moments_of
from ganpipe.evaluation.extractors import Extractor, make_extractor
from ganpipe.evaluation.features import Features
from ganpipe.evaluation.made import all_alike
from ganpipe.evaluation.measure import NO_NUMBER, few
from ganpipe.evaluation.reference import lessons
from ganpipe.evaluation.report import Measure
from ganpipe.evaluation.sets import ImageSet, Statistics, read_set
from ganpipe.evaluation.usefulness import SHOWN, Labelled, Usefulness, usefulness
from ganpipe.events import progress

BLOCK = 256
STAGE = "score"
STATISTICS = "needs images, and of one side only statistics are known"


@dataclass(frozen=True)
class Options:
    """How two sets are compared."""

    extractor: str = "lite0"
    precision: str = "float32"
    weights: Path | None = None
    samples: int = 0
    """Images of each side; 0 takes all that there are."""
    seed: int = 1
    most: int = 10_000
    """Images of each side that measures of all pairs look at; memorisation looks at all of the
    real ones."""


@dataclass(frozen=True)
class Score:
    """What is known of one set against another."""

    measures: list[Measure]
    protocol: dict[str, Any]
    warnings: list[str]
    left_out: dict[str, str]
    """Measures that could not be made, and why."""
    verdict: str
    """On memorisation; empty where nothing is known."""


@dataclass(frozen=True)
class _Side:
    """One set, as far as it is known."""

    moments: Moments
    features: Features | None
    images: ImageSet | None
    numbers: NDArray[np.int64]
    """Which of the images were compared: int64 [n]."""
    alike: bool = False

    @property
    def classes(self) -> list[str]:
        return [] if self.images is None else self.images.classes

    def labels(self, classes: list[str]) -> NDArray[np.int64] | None:
        """Their class numbers as places in `classes`, which are the set's own in any order."""
        if self.images is None or self.images.labels is None:
            return None
        places = np.array([classes.index(name) for name in self.images.classes], np.int64)
        return places[self.images.labels[self.numbers]]


def score(images: str, against: str, options: Options, unseen: str = "") -> Score:
    """Compare the set at `images` with the real one at `against`; see sets.read_set.

    `unseen`: real images that no generator was trained on; with them memorisation and usefulness
    can be told. Raises GanpipeError for sets that cannot be read or compared.
    """
    with tempfile.TemporaryDirectory(prefix="ganpipe-score-") as scratch:
        folder = Path(scratch)
        extractor = make_extractor(options.extractor, options.precision, options.weights)
        ours, theirs, *others = [
            _side(
                read_set(path, folder / name),
                extractor,
                least,
                options,
                folder / f"{name}.npy",
            )
            for name, path, least in (
                ("images", images, options.samples),
                ("against", against, options.samples),
                ("unseen", unseen, 0),
            )
            if path
        ]
        other = others[0] if others else None
        comparison = _compared(ours, theirs, options)
        copied = _copied(ours, theirs, other, options, folder)
        useful = _useful(ours, theirs, other, options)
    count = len(ours.numbers)
    told = _warnings([ours, theirs], others, extractor, comparison.distance)
    protocol = {
        "images": images,
        "against": against,
        "samples": count or "unknown",
        "reals": len(theirs.numbers) or "unknown",
        "extractor": extractor.name,
        "weights_sha256": extractor.weights_sha256,
        "resize": extractor.resize,
        "pairs": options.most,
        "seed": options.seed,
    }
    found = Found(extractor.name, count, comparison, {}, {}, copied, useful, protocol, told)
    rows = measures(found, numbers_of(comparison, extractor.name, count))
    parts = {
        "precision, recall, density, coverage": comparison.manifold,
        "extrapolation": comparison.extrapolation,
        "measures within classes": comparison.classes,
        "memorisation": copied,
        "usefulness": useful,
    }
    left_out = {name: part for name, part in parts.items() if isinstance(part, str)}
    verdict = "" if isinstance(copied, str) else copied.verdict.text
    return Score(rows, protocol, told, left_out, verdict)


def _side(
    found: ImageSet | Statistics, extractor: Extractor, least: int, options: Options, path: Path
) -> _Side:
    if isinstance(found, Statistics):
        if len(found.mean) != extractor.features:
            raise GanpipeError(
                f"{found.name} holds statistics of {len(found.mean):,} features, {extractor.name} "
                f"gives {extractor.features:,}: choose the feature network that they were made by "
                "with --extractor (2,048 are those of inception)"
            )
        moments = Moments(len(found.mean), count=2)  # so that its covariance is what was given
        moments.mean, moments.scatter = found.mean, found.covariance
        return _Side(moments, None, None, np.empty(0, np.int64))
    if found.count < max(2, least):
        raise GanpipeError(
            f"{found.name} holds {found.count} images, {max(2, least)} are to be compared: "
            "bring more, or lower --samples"
        )
    numbers = np.arange(found.count)
    if options.samples:
        numbers = _subset(options.seed, "score", found.count, options.samples)
    with (
        stored.writing(path, len(numbers), extractor.features) as file,
        progress(STAGE, f"features of {found.name}", len(numbers)) as bar,
    ):
        for part in _blocks(found, numbers):
            file.add(extractor(part))
            bar.advance(len(part))
    features = stored.read(path)
    alike = all_alike(_blocks(found, numbers))
    return _Side(moments_of(features), features, found, numbers, alike)


def _subset(seed: int, purpose: str, count: int, most: int) -> NDArray[np.int64]:
    return np.sort(randomness.permutation(seed, purpose, 0, count)[:most])


def _blocks(images: ImageSet, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    for first in range(0, len(numbers), BLOCK):
        yield images.read(numbers[first : first + BLOCK])


def _compared(ours: _Side, theirs: _Side, options: Options) -> Comparison:
    if ours.features is None:
        distance = frechet_distance(theirs.moments, ours.moments)
        return Comparison(distance, None, STATISTICS, None, STATISTICS, STATISTICS)
    if theirs.features is None:
        real = Real(theirs.moments, None, None, options.most, options.seed)
        return replace(compare(real, ours.features, stage=STAGE), classes=STATISTICS)
    named, classes = None, theirs.classes
    if not (differ := _other_classes([ours, theirs])):
        named = theirs.labels(classes)
    real = real_side(theirs.features, options.most, options.seed, named, classes, STAGE)
    labels = None if differ else ours.labels(classes)
    found = compare(real, ours.features, labels, stage=STAGE)
    return replace(found, classes=differ) if differ else found


def _other_classes(sides: list[_Side]) -> str:
    """Why the sets cannot be compared by class; empty where they have the same ones."""
    known = set().union(*(side.classes for side in sides))
    if not known:
        return "the sets have no classes"
    for side in sides:
        if side.images is None:
            return STATISTICS
        if not side.classes:
            return f"{side.images.name} has no classes"
        if lacking := sorted(known - set(side.classes)):
            return f"{side.images.name} has no images of {_listed(lacking)}"
    return ""


def _copied(
    ours: _Side, theirs: _Side, unseen: _Side | None, options: Options, folder: Path
) -> Copying | str:
    if unseen is None:
        return "needs --unseen: real images that the generator was not trained on"
    channels = _channels([ours, theirs, unseen])
    sides: list[tuple[Images, Features]] = []
    # all of the real ones: a copy of one that is left out would not be seen
    for side, most in ((theirs, None), (unseen, options.most), (ours, options.most)):
        if side.images is None or side.features is None:
            return STATISTICS
        count = len(side.numbers)
        chosen = np.arange(count)
        features = side.features
        if most and most < count:
            chosen = _subset(options.seed, "copying", count, most)
            features = np.asarray(features[chosen])
        sides.append((Images(_reader(side.images, side.numbers, channels), chosen), features))
    (known, known_features), (other, other_features), (made, made_features) = sides
    return copying(
        known,
        other,
        made,
        (known_features, other_features, made_features),
        seed=options.seed,
        folder=folder,
        stage=STAGE,
    )


def _channels(sides: list[_Side]) -> int:
    """Channels that the images of all sides can be read with: grey beside colour becomes RGB."""
    return max((side.images.shape[2] for side in sides if side.images is not None), default=1)


def _reader(images: ImageSet, numbers: NDArray[np.int64], channels: int) -> Read:
    """The images that were compared, by their places among those, with so many channels."""

    def read(places: NDArray[np.int64]) -> NDArray[np.uint8]:
        found = images.read(numbers[places])
        return found if found.shape[3] == channels else np.repeat(found, channels, axis=3)

    return read


def _useful(ours: _Side, theirs: _Side, unseen: _Side | None, options: Options) -> Usefulness | str:
    if unseen is None:
        return "needs --unseen, with the same classes"
    sides = [ours, theirs, unseen]
    if differ := _other_classes(sides):
        return differ
    channels, classes = _channels(sides), theirs.classes
    labelled = []
    for side in sides:
        images, labels = side.images, side.labels(classes)
        if images is None or labels is None:
            return STATISTICS
        if images.shape[:2] != (ours.images or images).shape[:2]:
            return "the three sets have images of different sizes"
        if lacking := [classes[each] for each in np.setdiff1d(np.arange(len(classes)), labels)]:
            return f"no images of {_listed(lacking)} among those of {images.name}"
        labelled.append(Labelled(_reader(images, side.numbers, channels), labels))
    made, real, test = labelled
    count = min(len(made.labels), len(real.labels))
    shown = lessons(count, SHOWN)
    total = 2 * shown + 2 * len(test.labels) + count
    with progress(STAGE, "classifiers on both sets", total) as bar:
        return usefulness(
            made, real, test, classes, seed=options.seed, shown=shown, advance=bar.advance
        )


def _warnings(
    pair: list[_Side], others: list[_Side], extractor: Extractor, distance: float
) -> list[str]:
    told = [] if np.isfinite(distance) else [NO_NUMBER]
    known = []
    for number, side in enumerate([*pair, *others]):
        if (images := side.images) is None:
            continue
        known.append(images)
        more = few(len(side.numbers), extractor.features) if number < len(pair) else []
        if images.left_out:
            named = _listed(images.left_out)
            total = f"{len(images.left_out):,}"
            more.append(f"left out {total} files that are no single, readable image: {named}")
        if side.alike:
            more.append("its images are all alike, so their spread is nought")
        told += [f"{images.name}: {each}" for each in more]
    for images in known[1:]:
        if images.shape[:2] != known[0].shape[:2]:
            told.append(
                f"{known[0].name} has images of {_size(known[0])} pixels and {images.name} of "
                f"{_size(images)}: what they are compared by tells that too"
            )
    return told


def _size(images: ImageSet) -> str:
    return f"{images.shape[1]} x {images.shape[0]}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
