"""Kernel distance with what chance explains of it: are two sets of features of one kind?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.evaluation.features import check, check_pair

DRAWS = 200
CHANCE = 0.975
Z = 1.959964  # of 95 % of a normal distribution


@dataclass(frozen=True)
class Distance:
    """KID of two sets, and how far it can be trusted."""

    value: float
    low: float
    high: float
    chance: float
    """97.5 % of equally many images of one kind come below this."""
    spread: float
    """How much images of the first set differ: their variance in the kernel's own space. The
    distance as a share of it can be compared between feature networks."""


def distance(first: NDArray[Any], second: NDArray[Any], seed: int, draws: int = DRAWS) -> Distance:
    """Unbiased KID of features [n, d] and [m, d], its 95 % interval and its floor.

    The kernel is (x.y / d + 1)^3 of Binkowski et al. (ICLR 2018), over all pairs rather than
    subsets. The floor comes from permutations: the same images dealt out anew to sets of n and m
    (Gretton et al., "A kernel two-sample test", JMLR 2012, section 5). The interval adds the
    variance of these to the first-order one of a U-statistic (their theorem 8), which vanishes
    for equal distributions. Raises GanpipeError under 4 images a side, or when a feature is not
    finite. Memory: two matrices of (n + m)^2 float64.
    """
    check_pair(first, second, least=4)
    n, m = len(first), len(second)
    both = np.concatenate([first, second]).astype(np.float64)
    check(both)
    kernel = both @ both.T
    kernel /= both.shape[1]
    kernel += 1.0
    kernel *= kernel * kernel
    own = float(np.trace(kernel[:n, :n]) / n)
    np.fill_diagonal(kernel, 0.0)
    spread = own - float(kernel[:n, :n].sum() / (n * (n - 1)))
    dealt = np.zeros((n + m, draws + 1))
    dealt[:n, 0] = 1.0
    for draw in range(draws):
        dealt[randomness.permutation(seed, "drift/deal", draw, n + m)[:n], draw + 1] = 1.0
    values = _values(kernel, dealt, n, m)
    value, others = float(values[0]), values[1:]
    reach = Z * math.sqrt(_first_order(kernel, n, m) + float(others.var()))
    chance = float(np.quantile(others, CHANCE))
    return Distance(value, value - reach, value + reach, chance, spread)


def _values(
    kernel: NDArray[np.float64], dealt: NDArray[np.float64], n: int, m: int
) -> NDArray[np.float64]:
    """Unbiased squared MMD for each column of `dealt`, which has 1 for images of the first set."""
    rows = kernel @ dealt
    first = np.einsum("ij,ij->j", dealt, rows)
    across = rows.sum(axis=0) - first
    second = kernel.sum() - first - 2.0 * across
    return np.asarray(first / (n * (n - 1)) + second / (m * (m - 1)) - 2.0 * across / (n * m))


def _first_order(kernel: NDArray[np.float64], n: int, m: int) -> float:
    within = kernel[:n, :n].sum(axis=1) / (n - 1), kernel[n:, n:].sum(axis=1) / (m - 1)
    across = kernel[:n, n:].mean(axis=1), kernel[:n, n:].mean(axis=0)
    variances = [
        float((own - other).var(ddof=1)) for own, other in zip(within, across, strict=True)
    ]
    return 4.0 * variances[0] / n + 4.0 * variances[1] / m
