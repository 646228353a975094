"""The kernel distance is KID, its floor is kept by equal sets, and its interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest

from ganpipe.drift.distance import Distance, distance
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.kernel import squared_mmd

FEATURES = 24


def normal(seed: int, count: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(shift, scale, (count, FEATURES))
    return drawn.astype(np.float32)


def test_it_is_the_unbiased_kernel_distance_that_the_evaluation_reports() -> None:
    first, second = normal(0, 60), normal(1, 45, shift=0.3)
    assert distance(first, second, 0).value == pytest.approx(squared_mmd(first, second), rel=1e-9)


def test_the_same_sets_and_seed_give_the_same_numbers() -> None:
    first, second = normal(0, 50), normal(1, 50)
    assert distance(first, second, 3) == distance(first, second, 3)
    assert distance(first, second, 3).chance != distance(first, second, 4).chance


@pytest.mark.parametrize(("n", "m"), [(60, 60), (200, 40)])
def test_equal_sets_stay_below_the_floor_as_often_as_it_says(n: int, m: int) -> None:
    found = [distance(normal(2 * s, n), normal(2 * s + 1, m), s) for s in range(120)]
    above = sum(each.value > each.chance for each in found)
    assert above <= 9, "2.5 % of 120 are 3; more than 9 is one case in 1,700"
    assert sum(each.low > each.chance for each in found) == 0, "an alarm asks for more"


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.4])
def test_the_interval_holds_the_true_distance(shift: float) -> None:
    many = distance(normal(1000, 1500), normal(1001, 1500, shift), 0, draws=2).value
    truth = 0.0 if shift == 0.0 else many
    found = [distance(normal(2 * s, 80), normal(2 * s + 1, 80, shift), s) for s in range(60)]
    held = sum(each.low <= truth <= each.high for each in found)
    assert held >= 51, "95 % of 60 are 57"
    width = np.mean([each.high - each.low for each in found])
    assert width < 2 * 3.92 * np.std([each.value for each in found]), "nor is it wide for nothing"


def drifted(found: Distance, share: float) -> bool:
    return found.low > found.chance and found.value > share * found.spread


def test_more_images_see_less_drift() -> None:
    assert not drifted(distance(normal(0, 1000), normal(1, 40, 0.15), 0), 0.005)
    assert drifted(distance(normal(0, 1000), normal(1, 1000, 0.15), 0), 0.005)


def test_as_a_share_of_the_spread_it_knows_no_unit() -> None:
    """The cubic kernel of features is that of scaled ones, up to lower orders."""
    shares = []
    for unit in (30.0, 300.0):
        found = distance(unit * normal(0, 300), unit * normal(1, 300, 0.5), 0)
        shares.append(found.value / found.spread)
    assert shares[0] == pytest.approx(shares[1], rel=0.02)


def test_features_that_mean_nothing_are_refused() -> None:
    with pytest.raises(GanpipeError, match="at least 4 images"):
        distance(normal(0, 3), normal(1, 50), 0)
    with pytest.raises(GanpipeError, match="NaN"):
        distance(normal(0, 50), np.full((50, FEATURES), np.nan, np.float32), 0)
