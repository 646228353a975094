"""Nearest neighbours among features: exact distances, in memory that does not grow with n."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.features import blocks, check, same_size

QUERIES, BASE = 1024, 8192  # a block of distances is float32 [QUERIES, BASE]: 32 MiB
MORE = 8  # candidates beyond k whose order the float32 distances may have got wrong


def nearest(
    queries: NDArray[Any],
    base: NDArray[Any],
    k: int,
    advance: Callable[[int], None] | None = None,
    without_self: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Euclidean distances to the k nearest rows of `base` and their numbers, nearest first.

    queries [n, d] and base [m, d] give float64 [n, k] and int64 [n, k]. Candidates are found by
    matrix products in float32, and their distances computed in float64 from differences, so that
    equal rows are at distance 0. Neighbours whose distances agree to about 6 digits may be taken
    for one another; of equal distances the first row of `base` comes first.
    `without_self`: queries and base are the same rows, and a row is no neighbour of its own.
    Raises GanpipeError when base has too few rows or a number is not finite.
    """
    same_size(queries.shape[1], base.shape[1])
    if len(base) < k + without_self:
        raise GanpipeError(
            f"{k} nearest neighbours need at least {k + without_self} images, there are {len(base)}"
        )
    centre = np.zeros(base.shape[1])
    for rows in blocks(base):
        check(rows)
        centre += rows.sum(axis=0, dtype=np.float64) / len(base)
    distances = np.empty((len(queries), k))
    numbers = np.empty((len(queries), k), dtype=np.int64)
    for first in range(0, len(queries), QUERIES):
        rows = np.asarray(queries[first : first + QUERIES])
        check(rows)
        own = np.arange(first, first + len(rows)) if without_self else None
        found = _candidates(rows, base, min(len(base) - without_self, k + MORE), centre, own)
        exact = _exact(rows, base, found)
        order = np.lexsort((found, exact))[:, :k]
        distances[first : first + len(rows)] = np.take_along_axis(exact, order, axis=1)
        numbers[first : first + len(rows)] = np.take_along_axis(found, order, axis=1)
        if advance:
            advance(len(rows))
    return distances, numbers


def _candidates(
    rows: NDArray[Any],
    base: NDArray[Any],
    k: int,
    centre: NDArray[np.float64],
    own: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """Numbers of the k rows of base that are nearest as far as float32 can tell: [len(rows), k]."""
    # distances do not change when the origin moves; float32 loses least where the rows are
    centred = (rows - centre).astype(np.float32)
    values = np.empty((len(rows), 0), np.float32)
    numbers = np.empty((len(rows), 0), np.int64)
    for first in range(0, len(base), BASE):
        block = (np.asarray(base[first : first + BASE]) - centre).astype(np.float32)
        # the query's own length is the same for all of base, so the order needs only the rest
        part = np.square(block).sum(axis=1) - 2.0 * (centred @ block.T)
        if own is not None:
            here = (own >= first) & (own < first + len(block))
            part[np.flatnonzero(here), own[here] - first] = np.inf
        kept = _smallest(part, k)
        values = np.concatenate([values, np.take_along_axis(part, kept, axis=1)], axis=1)
        numbers = np.concatenate([numbers, kept + first], axis=1)
        kept = _smallest(values, k)
        values = np.take_along_axis(values, kept, axis=1)
        numbers = np.take_along_axis(numbers, kept, axis=1)
    return numbers


def _smallest(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Places of the k smallest values of each row, in any order: [n, min(k, columns)]."""
    if values.shape[1] <= k:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.argpartition(values, k - 1, axis=1)[:, :k]


def _exact(rows: NDArray[Any], base: NDArray[Any], found: NDArray[np.int64]) -> NDArray[np.float64]:
    distances = np.empty(found.shape)
    for column in range(found.shape[1]):
        difference = np.asarray(base[found[:, column]], dtype=np.float64) - rows
        distances[:, column] = np.sqrt(np.square(difference).sum(axis=1))
    return distances


def squared_distances(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Squared distances of all pairs in float64: [len(first), len(second)].

    Their error is about 1e-13 of the squared lengths of the rows: see `slack`.
    """
    one, two = first.astype(np.float64), second.astype(np.float64)
    products = one @ two.T
    products *= -2.0
    products += np.square(one).sum(axis=1)[:, None]
    products += np.square(two).sum(axis=1)
    return products
