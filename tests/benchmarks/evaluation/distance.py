"""The Fréchet distance from given features: ganpipe's, and the usual one by a matrix root."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from ganpipe.evaluation.distances import frechet_of_features
from tests.benchmarks.evaluation.made_up import features
from tests.benchmarks.figures import Figure, interleaved, ratio
from tests.benchmarks.training.place import Place

OURS, USUAL = "ganpipe", "sqrtm"
SIZE, QUICK = 2048, 128
PROMISES = {5000: (2.5, 1e-6), 500: (100.0, 1e-4)}  # images: times as fast, relative difference


def measure(place: Place) -> list[Figure]:
    """Seconds in turns, means and covariances included, at full rank and far below it."""
    return [figure for count in PROMISES for figure in _compare(place, count)]


def _compare(place: Place, count: int) -> list[Figure]:
    size, (floor, agree) = place.size(SIZE, QUICK), PROMISES[count]
    images = count * size // SIZE
    sides = features(1, images, size), features(2, images, size, shift=0.1)
    found: dict[str, float] = {}

    def kept(name: str, distance: Callable[..., float]) -> None:
        found[name] = distance(*sides)

    works = {OURS: partial(kept, OURS, frechet_of_features), USUAL: partial(kept, USUAL, _usual)}
    seconds = interleaved(place.size(3, 1), works)
    label = f"{images:,} images, {size:,} features"
    difference = abs(found[OURS] / found[USUAL] - 1)
    return [
        *(Figure(f"{label}: {name}", median(each), "s", samples=each)
          for name, each in seconds.items()),
        ratio(f"{label}: {OURS} v {USUAL}", seconds[USUAL], seconds[OURS], floor),
        Figure(f"{label}: relative difference", difference, "", None, agree),
    ]  # fmt: skip


def _usual(first: NDArray[Any], second: NDArray[Any]) -> float:
    """As the FID libraries have it: Heusel et al. (2017), equation 6, by scipy's matrix root."""
    means = [side.mean(axis=0, dtype=np.float64) for side in (first, second)]
    covariances = [np.cov(side, rowvar=False) for side in (first, second)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    shift = means[0] - means[1]
    traces = np.trace(covariances[0]) + np.trace(covariances[1])
    return float(shift @ shift + traces - 2.0 * np.trace(root).real)
