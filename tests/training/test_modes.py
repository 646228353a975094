"""The default loss finds all that there is to find."""

import pytest

from ganpipe.compute import settle
from tests.benchmarks.training.points import TRAIN, count_modes, points, train_on_points


def test_real_points_have_all_modes():
    """Otherwise the count below says nothing."""
    modes = count_modes(points(0, 0, 10_000))
    assert modes.found == 25
    assert modes.quality == pytest.approx(0.989, abs=0.005)  # 1 - exp(-9 / 2)
    assert modes.smallest > 0.8


def test_what_lies_between_the_modes_is_in_none():
    halfway = points(0, 0, 10_000)
    halfway[:, 0] += 1.0 / 4.5  # half the grid's spacing
    assert count_modes(halfway).found == 0


@pytest.mark.slow
def test_relativistic_pairs_with_both_penalties_find_all_25_gaussians():
    settle(1)
    modes = count_modes(train_on_points(TRAIN))
    assert modes.found == 25
    assert modes.quality > 0.3  # points spread evenly over the square come to 1 %
