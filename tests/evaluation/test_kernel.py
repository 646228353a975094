"""KID: the unbiased estimator from its definition, and what it says of equal distributions."""

import numpy as np
import pytest

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.kernel import kernel_distance, squared_mmd


def _vectors(seed, count, size=16, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(count, size)) + shift).astype(np.float32)


def test_the_estimator_is_the_sum_over_pairs_that_it_is_defined_by():
    first, second = _vectors(0, 7), _vectors(1, 5, shift=0.5)

    def mean(one, two, same=False):
        pairs = [
            (float(a.astype(np.float64) @ b) / 16 + 1) ** 3
            for i, a in enumerate(one)
            for j, b in enumerate(two)
            if not (same and i == j)
        ]
        return sum(pairs) / len(pairs)

    expected = mean(first, first, True) + mean(second, second, True) - 2 * mean(first, second)
    assert squared_mmd(first, second) == pytest.approx(expected, rel=1e-6)


def test_equal_distributions_are_at_zero_on_average_whatever_the_count():
    """The plain (biased) estimator would give about 2/n times the kernel's diagonal, far above."""
    for size in (10, 100):
        found = kernel_distance(_vectors(2, 20_000), _vectors(3, 20_000), 0, subsets=200, size=size)
        assert abs(found.mean) < 4 * found.std / np.sqrt(200)
        assert found.std > 0


def test_a_shift_is_seen_far_above_the_spread():
    found = kernel_distance(_vectors(4, 2000), _vectors(5, 2000, shift=0.5), 0, 20, 500)
    assert found.mean > 5 * found.std


def test_subsets_follow_the_seed_and_nothing_else():
    first, second = _vectors(6, 300), _vectors(7, 200, shift=0.1)
    one = kernel_distance(first, second, seed=1, subsets=5, size=50)
    assert one == kernel_distance(first, second, seed=1, subsets=5, size=50)
    assert one != kernel_distance(first, second, seed=2, subsets=5, size=50)


def test_the_subset_is_no_larger_than_the_smaller_set():
    told = []
    found = kernel_distance(_vectors(8, 30), _vectors(9, 20), 0, subsets=3, advance=told.append)
    assert (found.size, found.subsets, sum(told)) == (20, 3, 3)


def test_unusable_input_is_refused():
    vectors = _vectors(10, 5)
    with pytest.raises(GanpipeError, match="at least 2 images on each side, there are 1"):
        kernel_distance(vectors, vectors[:1], 0)
    with pytest.raises(GanpipeError, match="16 numbers cannot be compared"):
        kernel_distance(vectors, vectors[:, :4], 0)
    with pytest.raises(GanpipeError, match="NaN"):
        kernel_distance(vectors, vectors * np.nan, 0)
    with pytest.raises(GanpipeError, match="subsets=0"):
        kernel_distance(vectors, vectors, 0, subsets=0)
