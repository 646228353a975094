"""Shares of classes: the distance is that of the textbook, and chance is taken into account."""

from __future__ import annotations

import numpy as np
import pytest

from ganpipe.drift.finding import Share
from ganpipe.drift.shares import compared


def test_the_distance_is_the_share_of_images_in_another_class() -> None:
    value, _, shares = compared({"cat": 60, "dog": 40}, {"dog": 10, "cat": 30, "owl": 10}, 0)
    assert shares == (Share("cat", 0.6, 0.6), Share("dog", 0.4, 0.2), Share("owl", 0.0, 0.2))
    assert value == pytest.approx(0.2)
    assert compared({"cat": 6, "dog": 4}, {"cat": 60, "dog": 40}, 0)[0] == pytest.approx(0.0)
    assert compared({"cat": 6}, {"dog": 40}, 0)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(("expected", "found"), [(5000, 100), (150, 400)])
def test_equal_shares_hardly_ever_go_beyond_chance(expected: int, found: int) -> None:
    above = 0
    weights = np.array([0.4, 0.3, 0.2, 0.09, 0.01])
    for seed in range(200):
        draw = np.random.default_rng(seed)
        sides = (draw.multinomial(count, weights) for count in (expected, found))
        ours, theirs = ({str(k): int(n) for k, n in enumerate(side)} for side in sides)
        value, chance, _ = compared(ours, theirs, seed)
        above += value > chance
    assert above <= 2, "one in 1,000"


def test_what_chance_explains_shrinks_with_the_counts() -> None:
    chances = [
        compared({"a": n, "b": n}, {"a": n, "b": n}, 0)[1] for n in (20, 200, 2000, 2_000_000)
    ]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.2
    assert chances[-1] < 0.002


def test_the_same_counts_and_seed_give_the_same_numbers() -> None:
    one = compared({"a": 50, "b": 50}, {"a": 30, "b": 60}, 7)
    assert one == compared({"a": 50, "b": 50}, {"a": 30, "b": 60}, 7)
