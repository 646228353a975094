"""Precision and recall, density and coverage: how real the samples are, how much they cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.features import check_pair
from ganpipe.evaluation.neighbours import nearest, squared_distances

ROWS, COLUMNS = 1024, 4096  # a block of squared distances is float64 [ROWS, COLUMNS]: 32 MiB
SLACK = 1e-12  # rounding of a squared distance, of the squared lengths of both rows


@dataclass(frozen=True)
class Manifold:
    """Precision and recall by k_pr neighbours, density and coverage by k_dc."""

    precision: float
    """Share of generated images within the real ones' manifold: 0 ... 1, fidelity."""
    recall: float
    """Share of real images within the generated ones' manifold: 0 ... 1, diversity."""
    density: float
    """How many real balls hold a generated image, over k_dc: 0 up, 1 for equal distributions."""
    coverage: float
    """Share of real balls that hold a generated image: 0 ... 1."""
    real: int
    generated: int
    k_pr: int
    k_dc: int


def own_neighbours(
    features: NDArray[Any], k: int, advance: Callable[[int], None] | None = None
) -> NDArray[np.float64]:
    """Distances of each image to its k nearest others of the same set: float64 [n, k], ascending.

    Raises GanpipeError when there are not more than k images.
    """
    return nearest(features, features, k, advance, without_self=True)[0]


def manifold(
    real: NDArray[Any],
    generated: NDArray[Any],
    k_pr: int = 3,
    k_dc: int = 5,
    real_neighbours: NDArray[np.float64] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Manifold:
    """Compare features of real images [n, d] with those of generated ones [m, d].

    An image's ball reaches to its k-th nearest other image of the same set; a set's manifold is
    the union of its balls. Precision and recall: Kynkaanniemi et al., "Improved precision and
    recall metric" (NeurIPS 2019), k = 3, edges of balls included. Density and coverage: Naeem et
    al., "Reliable fidelity and diversity metrics" (ICML 2020), k = 5, edges left out as in its
    code. All four depend on n and m: compare them at equal counts only. Time grows with n * m:
    `features.some` takes a sample.

    `real_neighbours`: own_neighbours(real, k) of an earlier call, with k of at least k_pr and
    k_dc. `advance` is told n + m images with it, 2 n + m without.
    Raises GanpipeError when a side has not more images than the neighbours asked for.
    """
    most = max(k_pr, k_dc)
    check_pair(real, generated, most + 1)
    if real_neighbours is None:
        real_neighbours = own_neighbours(real, most, advance)
    if len(real_neighbours) != len(real) or real_neighbours.shape[1] < most:
        raise GanpipeError(
            f"neighbours {list(real_neighbours.shape)} do not belong to {len(real)} real images "
            f"and k={most}: run the stage reference"
        )
    real_pr, real_dc = np.square(real_neighbours[:, [k_pr - 1, k_dc - 1]]).T
    generated_pr = np.square(own_neighbours(generated, k_pr, advance)[:, -1])
    centre = np.asarray(real[:ROWS], dtype=np.float64).mean(axis=0)
    is_real = np.zeros(len(generated), dtype=bool)
    is_covered = np.zeros(len(real), dtype=bool)
    recalled = np.zeros(len(real), dtype=bool)
    balls = 0
    for first in range(0, len(real), ROWS):
        a = slice(first, first + ROWS)
        rows = real[a] - centre
        for second in range(0, len(generated), COLUMNS):
            b = slice(second, second + COLUMNS)
            columns = generated[b] - centre
            squared = squared_distances(rows, columns)
            # copies and ties must fall on the right side of an edge whatever the rounding
            slack = SLACK * np.square(rows).sum(axis=1)[:, None]
            slack = slack + SLACK * np.square(columns).sum(axis=1)
            is_real[b] |= (squared <= real_pr[a, None] + slack).any(axis=0)
            recalled[a] |= (squared <= generated_pr[None, b] + slack).any(axis=1)
            inside = squared < real_dc[a, None] - slack
            balls += int(np.count_nonzero(inside))
            is_covered[a] |= inside.any(axis=1)
        if advance:
            advance(len(rows))
    return Manifold(
        precision=float(is_real.mean()),
        recall=float(recalled.mean()),
        density=balls / (k_dc * len(generated)),
        coverage=float(is_covered.mean()),
        real=len(real),
        generated=len(generated),
        k_pr=k_pr,
        k_dc=k_dc,
    )
