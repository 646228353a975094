"""Two sets of features compared by every measure that needs nothing but them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.classes import ClassMeasures, class_measures
from ganpipe.evaluation.distances import (
    Extrapolation,
    Interval,
    Moments,
    bootstrap,
    extrapolated,
    frechet_distance,
    moments_of,
)
from ganpipe.evaluation.features import Features, some
from ganpipe.evaluation.kernel import KernelDistance, kernel_distance
from ganpipe.evaluation.manifold import Manifold, manifold, own_neighbours
from ganpipe.evaluation.naming import metric_name
from ganpipe.evaluation.results import (
    CLASS_COVERAGE,
    COVERAGE,
    DENSITY,
    INTRA,
    KID,
    PRECISION,
    RECALL,
)
from ganpipe.events import progress

K_PR, K_DC = 3, 5
COUNTS = 15  # of FD-infinity's line
SUBSETS, SUBSET = 100, 1000
STRAIGHT = 4  # images for each number of a feature vector, below which the line bends


@dataclass(frozen=True)
class Real:
    """The real side of comparisons, with what does not depend on the other side."""

    moments: Moments
    features: Features | None
    """float32 [n, d]; None where only somebody's statistics are known."""
    neighbours: NDArray[np.float64] | None
    """Of `some_real(features)`, distances to the K_DC nearest others: float64 [m, K_DC]."""
    most: int
    """Images of a side that measures of all pairs look at."""
    seed: int
    labels: NDArray[np.int64] | None = None
    """Class numbers int64 [n]."""
    classes: Sequence[str] = ()


@dataclass(frozen=True)
class Comparison:
    """What is known of one set against another; a string says why a part is not."""

    distance: float
    interval: Interval | None
    extrapolation: Extrapolation | str
    kernel: KernelDistance | None
    manifold: Manifold | str
    classes: list[ClassMeasures] | str


def real_side(
    features: Features,
    most: int,
    seed: int,
    labels: NDArray[np.int64] | None = None,
    classes: Sequence[str] = (),
    stage: str = "reference",
) -> Real:
    """What comparisons need of real images' features float32 [n, d]."""
    chosen = some(features, most, seed, "real")
    neighbours = None
    if len(chosen) > K_DC:
        with progress(stage, "neighbours among real images", len(chosen)) as bar:
            neighbours = own_neighbours(chosen, K_DC, bar.advance)
    return Real(moments_of(features), features, neighbours, most, seed, labels, classes)


def compare(
    real: Real,
    features: Features,
    labels: NDArray[np.int64] | None = None,
    *,
    stage: str = "evaluate",
    sure: bool = True,
) -> Comparison:
    """Measure features float32 [n, d] of other images, with their classes int64 [n] if known.

    `sure`: with interval and extrapolation. Raises GanpipeError for fewer than 2 images, another
    size of features, or features that are not finite.
    """
    distance = frechet_distance(real.moments, moments_of(features))
    interval, line = None, "was not asked for"
    extrapolation: Extrapolation | str = line
    if sure:
        interval = bootstrap(real.moments, features, real.seed)
        extrapolation = _extrapolated(real, features, stage)
    kernel = None
    if real.features is not None:
        # subsets of all images would be the same ones every time
        size = max(2, min(SUBSET, len(real.features) // 2, len(features) // 2))
        with progress(stage, "kernel distance", SUBSETS, "subsets") as bar:
            kernel = kernel_distance(real.features, features, real.seed, SUBSETS, size, bar.advance)
    return Comparison(
        distance,
        interval,
        extrapolation,
        kernel,
        _manifold(real, features, stage),
        _classes(real, features, labels),
    )


def _extrapolated(real: Real, features: Features, stage: str) -> Extrapolation | str:
    count, size = features.shape
    if count < max(STRAIGHT * size, 2 * COUNTS):
        return (
            f"needs {max(STRAIGHT * size, 2 * COUNTS):,} images for features of {size:,} numbers, "
            f"there are {count:,}"
        )
    with progress(stage, "distances at growing counts", COUNTS, "counts") as bar:
        return extrapolated(real.moments, features, real.seed, COUNTS, bar.advance)


def _manifold(real: Real, features: Features, stage: str) -> Manifold | str:
    if real.features is None:
        return "needs the real images' features, and only their statistics are known"
    if real.neighbours is None or len(features) <= K_DC:
        return f"needs more than {K_DC} images on each side"
    ours = some(real.features, real.most, real.seed, "real")
    theirs = some(features, real.most, real.seed, "generated")
    total = len(ours) + len(theirs)
    with progress(stage, "precision, recall, density, coverage", total) as bar:
        return manifold(ours, theirs, K_PR, K_DC, real.neighbours, bar.advance)


def _classes(
    real: Real, features: Features, labels: NDArray[np.int64] | None
) -> list[ClassMeasures] | str:
    if real.features is None or real.labels is None:
        return "the real images have no classes"
    if labels is None:
        return "the generator knows no classes"
    for side, numbers in (("real", real.labels), ("generated", labels)):
        counts = np.bincount(numbers, minlength=len(real.classes))
        if few := [real.classes[int(number)] for number in np.flatnonzero(counts < 2)]:
            named = ", ".join(few[:5]) + (" ..." if len(few) > 5 else "")
            return f"fewer than 2 {side} images of {named}: compare more images"
    return class_measures(real.features, real.labels, features, labels, real.classes)


def numbers_of(comparison: Comparison, extractor: str, samples: int) -> dict[str, float]:
    """The measures by name, such as `kid_lite0_10k`; those that are not known are left out."""

    def name(measure: str = "") -> str:
        return metric_name(extractor, samples, measure)

    numbers = {name(): comparison.distance}
    if comparison.kernel is not None:
        numbers[name(KID)] = comparison.kernel.mean
    if isinstance(found := comparison.manifold, Manifold):
        numbers |= {
            name(PRECISION): found.precision,
            name(RECALL): found.recall,
            name(DENSITY): found.density,
            name(COVERAGE): found.coverage,
        }
    if not isinstance(classes := comparison.classes, str):
        numbers[name(INTRA)] = sum(each.distance for each in classes) / len(classes)
        covered = [each.coverage for each in classes if each.coverage is not None]
        if covered:
            numbers[name(CLASS_COVERAGE)] = min(covered)
    return numbers
