"""Memorisation: do generated images lie closer to training images than unseen real ones do?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.neighbours import nearest
from ganpipe.evaluation.unseen import Near, Vector, cells_of, own_gaps

LEVEL = 0.01  # share of test images that count as unusually close to a training image
CHANCE = 1e-4  # what happens by chance less often than this is a finding

_FEW = 20  # images of a kind that a cell needs


class Tail(NamedTuple):
    """Generated images among the values that only the lowest test images have."""

    share: float
    """Generated images below the ceil(level * m)-th smallest of m test values, in [0, 1]."""
    expected: float
    """The mean of `share` for unseen real images."""
    excess: float
    """(share - expected) / (1 - expected), at least 0: the share of copies, if all of them lie
    below and other images are like test images."""
    p_value: float
    """Chance of this share or a larger one for unseen real images: exact, hypergeometric."""
    detectable: float
    """The smallest share with a p_value below CHANCE among so many images: copies are seen from
    there on, even where no other generated image lies below. 1 where there is none."""


@dataclass(frozen=True)
class Closeness:
    """How close generated and test images are to training images in one space."""

    space: str
    train: int
    """Training images that were compared with."""
    distances: Vector
    """Of each generated image to its nearest training images: float64 [g, k]."""
    numbers: NDArray[np.int64]
    """Which rows of the training images these are: int64 [g, k]."""
    alone: Vector
    """Nearest distance / mean of the k nearest ones of each generated image, in [0, 1], float64
    [g]; near 0 where one training image is far nearer than all others (after the adaptive
    threshold of Carlini et al., "Extracting training data from diffusion models", 2023)."""
    closer: Tail
    """By nearest distance: lowered by copying, but by blur and small variety too."""
    singled_out: Tail
    """By `alone`: lowered by copying, hardly by blur; misses images that were copied from several
    near duplicates."""
    auth_pct: float
    """AuthPct in [0, 100]: generated images farther from their nearest training image than that
    one is from its own nearest (Alaa et al., "How faithful is your synthetic data?", ICML 2022).
    """
    auth_pct_test: float
    """The same of the test images: what unseen real images come to."""
    c_t: float
    """Data-copying test: far below 0 is copying, far above 0 underfitting; see data_copying."""

    def most_suspicious(self, count: int) -> NDArray[np.int64]:
        """The generated images most like one training image only, worst first: int64 [count]."""
        return np.lexsort((self.distances[:, 0], self.alone))[:count]


def closeness(
    unseen: Near,
    train: NDArray[Any],
    generated: NDArray[Any],
    *,
    space: str,
    level: float = LEVEL,
    advance: Callable[[int], None] | None = None,
) -> Closeness:
    """Compare generated rows [g, d] with training rows [n, d], which `unseen` knows.

    Rows are features float32, or pixels as `reduced` gives them. Memory grows with g by k numbers,
    beside blocks. Progress comes to at most 2 * g. Raises GanpipeError when there are no generated
    images, or when a feature is not finite.
    """
    if not len(generated):
        raise GanpipeError(
            "memorisation compares generated with test images, and there are no generated ones: "
            "raise evaluate.samples"
        )
    test_distances = unseen.distances
    distances, numbers = nearest(generated, train, test_distances.shape[1], advance)
    alone, test_alone = _alone(distances), _alone(test_distances)
    gaps = own_gaps(train, numbers[:, 0], unseen.gaps, advance)
    cell = cells_of(generated, unseen.centres)
    far = test_distances[:, 0] > gaps[unseen.numbers[:, 0]]
    return Closeness(
        space=space,
        train=len(train),
        distances=distances,
        numbers=numbers,
        alone=alone,
        closer=tail(distances[:, 0], test_distances[:, 0], level),
        singled_out=tail(alone, test_alone, level),
        auth_pct=100 * float((distances[:, 0] > gaps[numbers[:, 0]]).mean()),
        auth_pct_test=100 * float(far.mean()),
        c_t=data_copying(distances[:, 0], cell, test_distances[:, 0], unseen.cells),
    )


def _alone(distances: Vector) -> Vector:
    mean = distances.mean(axis=1)
    # where all distances are 0 the image is a copy, and its value 0
    alone: Vector = distances[:, 0] / np.where(mean > 0, mean, 1.0)
    return alone


def tail(generated: Vector, test: Vector, level: float) -> Tail:
    """Compare how many generated values lie below the lowest `level` of the test values.

    Under "generated values are drawn like test values" at least x of g lie below the r-th
    smallest of m exactly when x of the x + r - 1 smallest of all are generated ones.
    """
    g, m = len(generated), len(test)
    rank = max(1, ceil(level * m))
    below = int((generated < np.sort(test)[rank - 1]).sum())
    expected = rank / (m + 1)
    found = _first(lambda count: _chance(count, g, m, rank) < CHANCE, g)
    return Tail(
        share=below / g,
        expected=expected,
        excess=_excess(below / g, expected),
        p_value=_chance(below, g, m, rank),
        detectable=1.0 if found is None else found / g,
    )


def _excess(share: float, expected: float) -> float:
    return max(0.0, (share - expected) / (1.0 - expected))


def _chance(below: int, g: int, m: int, rank: int) -> float:
    from scipy.stats import hypergeom

    return float(hypergeom.sf(below - 1, g + m, g, below + rank - 1))


def _first(holds: Callable[[int], bool], last: int) -> int | None:
    """The smallest number in 1 ... last from which on `holds`, or None."""
    if not holds(last):
        return None
    low, high = 0, last
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def data_copying(
    generated: Vector, cell: NDArray[np.int64], test: Vector, test_cell: NDArray[np.int64]
) -> float:
    """C_T of Meehan, Chaudhuri and Dasgupta, "A non-parametric test to detect data-copying in
    generative models" (AISTATS 2020), from nearest training distances and the cell of each image.

    In each cell the z-score of the Mann-Whitney statistic of generated against test distances,
    averaged with the share of test images as weight. Cells with fewer than 20 generated or test
    images are left out; where that leaves none, all images are one cell. Unlike the paper's code
    the nearest training image may lie in another cell, and z is corrected for ties.
    """
    scores, weights = [], []
    for number in np.unique(test_cell):
        here, there = generated[cell == number], test[test_cell == number]
        if min(len(here), len(there)) >= _FEW:
            scores.append(mann_whitney(here, there))
            weights.append(len(there))
    return float(np.average(scores, weights=weights)) if scores else mann_whitney(generated, test)


def mann_whitney(first: Vector, second: Vector) -> float:
    """z of the Mann-Whitney U of two samples, below 0 when `first` has the smaller values."""
    from scipy.stats import rankdata

    n, m = len(first), len(second)
    both = np.concatenate([first, second])
    ties = np.unique(both, return_counts=True)[1].astype(np.float64)
    variance = n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1)))
    u = rankdata(both)[:n].sum() - n * (n + 1) / 2
    return float((u - n * m / 2) / np.sqrt(variance)) if variance > 0 else 0.0
