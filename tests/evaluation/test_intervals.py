"""Intervals: shares agree with another implementation and with draws, KID with its subsets."""

import numpy as np
import pytest
from scipy.stats import binomtest

from ganpipe.evaluation.comparison import compare, real_side
from ganpipe.evaluation.intervals import intervals_of, of_kernel, of_share
from ganpipe.evaluation.kernel import KernelDistance
from ganpipe.evaluation.manifold import Manifold


@pytest.mark.parametrize(
    ("right", "count"), [(0, 7), (7, 7), (3, 10), (1, 1000), (999, 1000), (6000, 10_000)]
)
def test_the_interval_of_a_share_is_wilson_s(right, count):
    outside = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert of_share(right / count, count) == pytest.approx(tuple(outside), abs=1e-7)


def test_shares_of_draws_lie_inside_as_often_as_said():
    draws = np.random.default_rng(0).binomial(60, 0.3, 4000)
    inside = [low <= 0.3 <= high for low, high in (of_share(each / 60, 60) for each in draws)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_a_kernel_distance_of_more_images_is_surer():
    """As the mean of samples / size separate subsets would be, and never less sure than one."""
    kernel = KernelDistance(0.5, 0.1, 100, 50)
    reaches = [(high - low) / 2 for low, high in (of_kernel(kernel, n) for n in (20, 50, 800))]
    assert reaches == pytest.approx([0.196, 0.196, 0.049], abs=1e-5)
    assert sum(of_kernel(kernel, 800)) / 2 == pytest.approx(0.5)


def test_each_measure_has_the_interval_of_the_side_that_it_counts():
    drawn = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    found = compare(real_side(drawn[:200], 1000, 1), drawn[200:] * 0.7)
    ends = intervals_of(found, "lite0", 100)
    shape = found.manifold
    assert isinstance(shape, Manifold)
    assert (shape.real, shape.generated) == (200, 100)
    assert ends["precision_lite0_100"] == of_share(shape.precision, 100)
    assert ends["recall_lite0_100"] == of_share(shape.recall, 200)
    assert ends["coverage_lite0_100"] == of_share(shape.coverage, 200)
    assert ends["kid_lite0_100"] == of_kernel(found.kernel, 100)
    assert ends["fid_lite0_100"] == (found.interval.low, found.interval.high)
    assert "density_lite0_100" not in ends


def test_what_is_not_known_has_no_interval():
    drawn = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    found = compare(real_side(drawn[:4], 1000, 1), drawn[4:], sure=False)
    assert intervals_of(found, "lite0", 4).keys() == {"kid_lite0_4"}
