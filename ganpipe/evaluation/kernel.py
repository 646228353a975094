"""Kernel distance (KID): unbiased, so that it can be compared between counts of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.features import check, check_pair


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation of the kernel distance over random subsets."""

    mean: float
    std: float
    """Spread of single subsets (as torch-fidelity reports it), not the error of the mean."""
    subsets: int
    size: int
    """Images of each side in a subset."""


def kernel_distance(
    first: NDArray[Any],
    second: NDArray[Any],
    seed: int,
    subsets: int = 100,
    size: int = 1000,
    advance: Callable[[int], None] | None = None,
) -> KernelDistance:
    """KID of features [n, d] and [m, d] over `subsets` random subsets of min(size, n, m) images.

    Binkowski et al., "Demystifying MMD GANs" (ICLR 2018), section 4: the squared maximum mean
    discrepancy of the kernel (x.y / d + 1)^3. Slightly negative values are what equal
    distributions give. Raises GanpipeError under 2 images, or when a feature is not finite.
    """
    check_pair(first, second)
    if subsets < 1 or size < 2:
        raise GanpipeError(f"subsets={subsets}, size={size}: KID needs at least 1 subset of 2")
    size = min(size, len(first), len(second))
    values = np.empty(subsets)
    for number in range(subsets):
        one = randomness.permutation(seed, "kid/first", number, len(first))[:size]
        two = randomness.permutation(seed, "kid/second", number, len(second))[:size]
        # in the order of the file, which is the fast way through a mapped one
        values[number] = squared_mmd(first[np.sort(one)], second[np.sort(two)])
        if advance:
            advance(1)
    return KernelDistance(float(values.mean()), float(values.std()), subsets, size)


def squared_mmd(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Unbiased squared MMD of two sets of features with the cubic polynomial kernel.

    Gretton et al., "A kernel two-sample test" (JMLR 2012), equation 3: pairs of a vector with
    itself are left out.
    """
    check(first)
    check(second)
    one, two = first.astype(np.float64), second.astype(np.float64)
    n, m = len(one), len(two)
    within = _sum_without_diagonal(one) / (n * (n - 1)) + _sum_without_diagonal(two) / (m * (m - 1))
    return float(within - 2.0 * _kernel(one, two).sum() / (n * m))


def _sum_without_diagonal(vectors: NDArray[np.float64]) -> float:
    kernel = _kernel(vectors, vectors)
    return float(kernel.sum() - np.trace(kernel))


def _kernel(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    base = first @ second.T
    base /= first.shape[1]
    base += 1.0
    return base * base * base
