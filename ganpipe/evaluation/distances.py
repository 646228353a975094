"""Fréchet distance between sets of features, how far it is biased and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.features import ROWS, blocks, check, check_pair, same_size

Array = NDArray[np.float64]


@dataclass
class Moments:
    """Mean and covariance of feature vectors, gathered a batch at a time in float64.

    Memory does not grow with the number of vectors. Batches are merged by the pairwise rule of
    Chan, Golub and LeVeque (1979), which does not lose digits to a large mean as sums of
    squares do.
    """

    features: int
    count: int = 0
    mean: Array = field(init=False)
    scatter: Array = field(init=False)
    """Sum of outer products of the deviations from the mean: float64 [features, features]."""

    def __post_init__(self) -> None:
        self.mean = np.zeros(self.features)
        self.scatter = np.zeros((self.features, self.features))

    def add(self, vectors: NDArray[Any]) -> None:
        """Take in features float [n, features]. Raises GanpipeError when one is not finite."""
        same_size(vectors.shape[1], self.features)
        check(vectors)
        n = len(vectors)
        if n == 0:
            return
        batch = vectors.astype(np.float64)
        mean = batch.mean(axis=0)
        batch -= mean
        shift = mean - self.mean
        total = self.count + n
        # the correction for the means is one more row of the product
        rows = np.vstack([batch, shift * np.sqrt(self.count * n / total)])
        self.scatter += rows.T @ rows
        self.mean = self.mean + shift * (n / total)
        self.count = total

    @property
    def covariance(self) -> Array:
        """Unbiased (divided by count - 1), as numpy.cov. Raises GanpipeError under 2 vectors."""
        if self.count < 2:
            raise GanpipeError(f"a covariance needs at least 2 images, there are {self.count}")
        return self.scatter / (self.count - 1)


def moments_of(features: NDArray[Any]) -> Moments:
    """Moments of features [n, d], read in blocks."""
    moments = Moments(features.shape[1])
    for rows in blocks(features):
        moments.add(rows)
    return moments


def frechet_distance(first: Moments, second: Moments) -> float:
    """||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    Heusel et al., "GANs trained by a two time-scale update rule" (NeurIPS 2017), equation 6.
    With S1 = A A^T and S2 = B B^T the trace of the root is the sum of the singular values of
    A^T B, so that no matrix square root is needed. A and B are Cholesky factors with as many
    columns as the covariance has rank: singular ones cost no digits.
    """
    same_size(first.features, second.features)
    return _distance(first.mean, _factor(first.covariance), second.mean, _factor(second.covariance))


def frechet_of_features(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Fréchet distance of features float [n, d] and [m, d], by the shortest way.

    A set of no more vectors than features is its own factor: its deviations from the mean over
    sqrt(n - 1); no matrix [d, d] is made when both sets are so small. Exact either way.
    Raises GanpipeError for fewer than 2 images, different sizes, or features that are not finite.
    """
    check_pair(first, second)
    return _distance(*_mean_and_factor(first), *_mean_and_factor(second))


def _mean_and_factor(features: NDArray[Any]) -> tuple[Array, Array]:
    if len(features) > features.shape[1]:
        moments = moments_of(features)
        return moments.mean, _factor(moments.covariance)
    check(features)
    vectors = features.astype(np.float64)
    mean = vectors.mean(axis=0)
    return mean, (vectors - mean).T / np.sqrt(len(vectors) - 1)


def _distance(mean: Array, factor: Array, other_mean: Array, other_factor: Array) -> float:
    import torch

    shift = mean - other_mean
    traces = np.square(factor).sum() + np.square(other_factor).sum()
    # all in torch: its LAPACK is several times faster than the one that numpy and scipy bring,
    # and the threads of two such libraries wait for each other
    cross = torch.from_numpy(factor).T @ torch.from_numpy(other_factor)
    if min(cross.shape) < len(mean):
        root = float(torch.linalg.svdvals(cross).sum())
    else:
        # a third of the time; squaring costs digits of the least singular values alone
        squares = torch.linalg.eigvalsh(cross @ cross.T)
        root = float(squares.clamp(min=0.0).sqrt().sum())
    return float(shift @ shift + traces - 2.0 * root)


def _factor(covariance: Array) -> Array:
    """A float64 [d, rank] with A A^T = covariance, by Cholesky's method with pivoting."""
    from scipy.linalg.lapack import dpstrf

    lower, pivots, rank, _ = dpstrf(covariance, lower=1)
    factor = np.empty((len(covariance), rank))
    factor[pivots - 1] = np.tril(lower)[:, :rank]
    return factor


@dataclass(frozen=True)
class Interval:
    """Where the distance would lie for other images of the same generator, as many of them."""

    low: float
    high: float
    error: float
    """Standard error of the distance."""


def bootstrap(
    reference: Moments,
    features: NDArray[Any],
    seed: int,
    confidence: float = 0.95,
    replicates: int = 1000,
) -> Interval:
    """Percentile bootstrap interval of the Fréchet distance over the generated images.

    It covers the mean distance of sets of n images from this generator to this reference: the
    luck of the draw of generated images. It leaves out the choice of the real ones, and the
    bias of n images, which `extrapolated` estimates; compare it with distances at the same n.

    Replicates resample the distance's linear part (`influences`), not the images: images drawn
    twice count as fewer, so the plain bootstrap of this distance lies too high, by 0.08 for a
    distance of 0.30 with a deviation of 0.01 (384 Gaussian vectors of 48 numbers), and misses it
    every time. In trials with Gaussian and skewed features at n / d from 0.5 to 40 (150 sets
    each) the interval of 95 % held the mean distance 91 to 99 times of 100.

    features float [n, d]. Time: one eigendecomposition and three products of n * d * d.
    """
    values, distance = _linear_part(reference, features)
    n = len(values)
    means = [
        values[randomness.words(seed, "bootstrap", number, 1, n)[0] % np.uint64(n)].mean()
        for number in range(replicates)
    ]
    tail = (1.0 - confidence) / 2.0
    low, high = distance + np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(low), float(high), float(values.std(ddof=1) / np.sqrt(n)))


def influences(reference: Moments, features: NDArray[Any]) -> Array:
    """How much each image of a set pulls its Fréchet distance up or down: float64 [n], mean 0.

    The influence function of the distance (Hampel 1974): giving image i the weight (1 + e) / n
    changes the distance by e / n times its value, to first order. The gradient with respect to
    S2 is 1 - A (A^T S2 A)^(-1/2) A^T, one less the optimal map from the set to the reference.
    """
    return _linear_part(reference, features)[0]


def _linear_part(reference: Moments, features: NDArray[Any]) -> tuple[Array, float]:
    import torch

    moments = moments_of(features)
    same_size(reference.features, moments.features)
    factor, covariance = _factor(reference.covariance), moments.covariance
    inner = torch.from_numpy(factor.T @ covariance @ factor)
    squares, vectors = (part.numpy() for part in torch.linalg.eigh(inner))
    kept = squares > squares.max(initial=0.0) * np.finfo(np.float64).eps * len(squares)
    roots = np.sqrt(squares[kept])
    onto = factor @ (vectors[:, kept] / np.sqrt(roots))
    shift = moments.mean - reference.mean
    values = np.empty(len(features))
    for number, rows in enumerate(blocks(features)):
        away = rows - moments.mean
        bend = np.square(away).sum(axis=1) - np.square(away @ onto).sum(axis=1)
        pulls = 2.0 * (away @ shift) + bend * (moments.count / (moments.count - 1))
        values[number * ROWS : number * ROWS + len(rows)] = pulls
    traces = np.trace(reference.covariance) + np.trace(covariance)
    return values - values.mean(), float(shift @ shift + traces - 2.0 * roots.sum())


@dataclass(frozen=True)
class Extrapolation:
    """A straight line through distances at several counts, against 1 / count."""

    value: float
    """Where the line meets infinitely many images."""
    slope: float
    counts: list[int]
    distances: list[float]


def extrapolated(
    reference: Moments,
    features: NDArray[Any],
    seed: int,
    counts: int = 15,
    advance: Callable[[int], None] | None = None,
) -> Extrapolation:
    """The Fréchet distance of infinitely many generated images to the reference (FD-infinity).

    Chong and Forsyth, "Effectively unbiased FID and Inception Score" (CVPR 2020), section 4: the
    intercept of a line through distances at 15 counts against 1 / count, from 5,000 up for
    features of 2048 numbers. Here from n / 4 or 2 d, whichever is more, but n / 2 at most. The
    subsets are nested in one random order rather than drawn anew, so that features are read
    once. The bias of the real images' own count stays.

    The line is straight only where n is several times d: in trials with Gaussian and skewed
    features at 5 d and more its value was off by less than a third of its deviation over draws,
    which was 1.3 to 2.1 times that of the distance itself; at 2 d it was too low, by up to a
    third of the true distance, and at d useless.

    features float [n, d]; `advance` is told 1 for each count.
    Raises GanpipeError when n / 2 is not at least `counts`.
    """
    n, size = features.shape
    if n < 2 * counts:
        raise GanpipeError(
            f"the distance of infinitely many images is estimated from {counts} counts and needs "
            f"at least {2 * counts} images, there are {n}: raise evaluate.samples"
        )
    same_size(reference.features, size)
    order = randomness.permutation(seed, "extrapolated", 0, n)
    sizes = np.linspace(min(n // 2, max(n // 4, 2 * size)), n, counts).astype(np.int64)
    factor, moments, distances = _factor(reference.covariance), Moments(size), []
    for count in sizes:
        for rows in blocks(order[moments.count : count]):
            moments.add(features[np.sort(rows)])
        other = _factor(moments.covariance)
        distances.append(_distance(reference.mean, factor, moments.mean, other))
        if advance:
            advance(1)
    slope, value = np.polyfit(1.0 / sizes, distances, 1)
    return Extrapolation(float(value), float(slope), sizes.tolist(), distances)
