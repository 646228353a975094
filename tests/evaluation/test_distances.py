"""Distances: known cases exactly, and agreement with the general matrix square root."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import Moments, frechet_distance


def _moments(vectors, parts=3):
    moments = Moments(vectors.shape[1])
    for part in np.array_split(vectors, parts):
        moments.add(part.astype(np.float32))
    return moments


def _features(seed, count, size, shift=0.0):
    generator = np.random.default_rng(seed)
    mix = generator.normal(size=(size, size)) / np.sqrt(size)
    return (generator.normal(size=(count, size)) @ mix + shift).astype(np.float32)


def test_moments_gathered_in_parts_are_those_of_numpy():
    vectors = _features(0, 501, 20, shift=1000.0)
    moments = _moments(vectors, parts=7)
    exact = vectors.astype(np.float64)
    assert np.allclose(moments.mean, exact.mean(axis=0), rtol=1e-12)
    assert np.allclose(moments.covariance, np.cov(exact, rowvar=False), rtol=1e-8)


def test_equal_covariances_leave_the_squared_distance_of_the_means():
    vectors = np.round(_features(1, 400, 16), 3)
    shift = np.arange(16) / 16
    assert frechet_distance(_moments(vectors), _moments(vectors + shift)) == pytest.approx(
        float(shift @ shift), rel=1e-5
    )


def test_a_set_is_at_no_distance_from_itself():
    moments = _moments(_features(2, 300, 16))
    assert abs(frechet_distance(moments, moments)) < 1e-9


def test_gaussians_with_a_common_basis_have_a_closed_form():
    """Diagonal covariances: sum (s1 - s2)^2 of the standard deviations."""
    first, second = Moments(4), Moments(4)
    first.count = second.count = 2
    a, b = np.array([1.0, 2.0, 3.0, 0.0]), np.array([2.0, 2.0, 1.0, 0.5])
    first.scatter, second.scatter = np.diag(a**2), np.diag(b**2)
    assert frechet_distance(first, second) == pytest.approx(np.sum((a - b) ** 2), rel=1e-12)


@pytest.mark.parametrize(("count", "size", "tolerance"), [(500, 32, 1e-6), (30, 64, 1e-4)])
def test_agrees_with_the_matrix_square_root(count, size, tolerance):
    """At full rank and with fewer samples than features, against scipy's general routine."""
    one, two = _features(3, count, size), _features(4, count, size, shift=0.3)
    first, second = _moments(one), _moments(two)
    root = sqrtm(first.covariance @ second.covariance).real
    shift = first.mean - second.mean
    expected = shift @ shift + np.trace(first.covariance + second.covariance - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=tolerance)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=tolerance)


def test_one_image_and_broken_features_are_refused():
    single = Moments(4)
    single.add(np.zeros((1, 4), np.float32))
    with pytest.raises(GanpipeError, match="at least 2 images, there are 1"):
        frechet_distance(single, single)
    with pytest.raises(GanpipeError, match="NaN"):
        single.add(np.full((2, 4), np.nan, np.float32))
