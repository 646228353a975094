"""Distances between sets of features."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError

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

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Take in features float [n, features]. Raises GanpipeError when one is not finite."""
        if not np.isfinite(vectors).all():
            raise GanpipeError(
                "the feature network gave NaN or infinite features: the images or the network's "
                "weights are damaged; compare evaluate.precision=float32"
            )
        batch = vectors.astype(np.float64)
        n = len(batch)
        mean = batch.mean(axis=0)
        centred = batch - mean
        shift = mean - self.mean
        total = self.count + n
        self.scatter += centred.T @ centred + np.outer(shift, shift) * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self.count = total

    @property
    def covariance(self) -> Array:
        """Unbiased (divided by count - 1), as numpy.cov. Raises GanpipeError under 2 vectors."""
        if self.count < 2:
            raise GanpipeError(f"a covariance needs at least 2 images, there are {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(first: Moments, second: Moments) -> float:
    """||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    Heusel et al., "GANs trained by a two time-scale update rule" (NeurIPS 2017), equation 6.
    The trace of the square root is the sum of the square roots of the eigenvalues of
    S1^(1/2) S2 S1^(1/2), which is symmetric, so that no general matrix square root is needed.
    """
    shift = first.mean - second.mean
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    cross = _trace_of_root(first.covariance, second.covariance)
    return float(shift @ shift + traces - 2.0 * cross)


def _trace_of_root(first: Array, second: Array) -> float:
    from scipy.linalg import eigh

    values, vectors = eigh(first, driver="evd")
    # a covariance of few samples has no more directions than samples: work in these alone
    kept = values > max(values[-1], 0.0) * np.finfo(np.float64).eps * len(values)
    root = vectors[:, kept] * np.sqrt(values[kept])
    inner = eigh(root.T @ second @ root, eigvals_only=True)
    return float(np.sqrt(np.clip(inner, 0.0, None)).sum())
