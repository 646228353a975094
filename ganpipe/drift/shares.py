"""Shares of classes: how many images lie in another class than was to be expected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ganpipe import randomness
from ganpipe.drift.finding import Share

DRAWS = 2000
CHANCE = 0.999  # classes are cheap to draw, and a watch looks often


def compared(
    expected: Mapping[str, int], found: Mapping[str, int], seed: int
) -> tuple[float, float, tuple[Share, ...]]:
    """Total variation distance of two sets of counts by class, what chance explains, the shares.

    The distance is half the sum of differences, 0 ... 1: the share of images that would have to
    change their class. Chance: 99.9 % of equally many images, dealt out anew from both sets
    together, come to less. Classes that only one side has count too. Neither may be empty.
    """
    names = list(dict.fromkeys([*expected, *found]))
    ours = np.array([expected.get(name, 0) for name in names], np.int64)
    theirs = np.array([found.get(name, 0) for name in names], np.int64)
    both = ours + theirs
    key = randomness.words(seed, "drift/shares", 0, 1, 2)[0]
    generator = np.random.Generator(np.random.Philox(key=key))
    drawn = generator.multivariate_hypergeometric(both, int(theirs.sum()), size=DRAWS)
    p, q = ours / ours.sum(), theirs / theirs.sum()
    by_chance = np.abs((both - drawn) / ours.sum() - drawn / theirs.sum()).sum(axis=1) / 2
    shares = tuple(Share(*each) for each in zip(names, p.tolist(), q.tolist(), strict=True))
    return float(np.abs(p - q).sum() / 2), float(np.quantile(by_chance, CHANCE)), shares
