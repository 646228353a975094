"""Distances: known cases exactly, and agreement with the general matrix square root."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import (
    Moments,
    bootstrap,
    extrapolated,
    frechet_distance,
    frechet_of_features,
    influences,
    moments_of,
)


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


def test_features_of_different_networks_are_refused():
    first, second = _features(5, 30, 8), _features(5, 30, 9)
    with pytest.raises(GanpipeError, match="8 numbers cannot be compared with features of 9"):
        frechet_distance(_moments(first), _moments(second))
    with pytest.raises(GanpipeError, match="8 numbers cannot be compared with features of 9"):
        frechet_of_features(first, second)
    with pytest.raises(GanpipeError, match="9 numbers cannot be compared with features of 8"):
        Moments(8).add(second)


def test_the_route_by_features_refuses_what_the_other_does():
    vectors = _features(6, 10, 16)
    with pytest.raises(GanpipeError, match="at least 2 images on each side, there are 1"):
        frechet_of_features(vectors, vectors[:1])
    vectors[3, 3] = np.nan
    with pytest.raises(GanpipeError, match="NaN"):
        frechet_of_features(_features(6, 10, 16), vectors)


@pytest.mark.parametrize(
    ("n", "m"), [(20, 30), (20, 500), (500, 20), (500, 500), (64, 64), (65, 2)]
)
def test_both_routes_give_the_same_distance_at_any_rank(n, m):
    one, two = _features(7, n, 64), _features(8, m, 64, shift=0.2)
    expected = frechet_distance(_moments(one), _moments(two))
    assert frechet_of_features(one, two) == pytest.approx(expected, rel=1e-8)
    assert frechet_of_features(two, one) == pytest.approx(expected, rel=1e-8)


def test_few_images_are_at_no_distance_from_themselves():
    """Eigenvalues of products would leave about 1e-8 of the variance for each direction."""
    vectors = _features(9, 60, 200) * np.logspace(0, -12, 200, dtype=np.float32)
    variance = np.trace(_moments(vectors).covariance)
    assert abs(frechet_of_features(vectors, vectors)) < 1e-12 * variance
    assert abs(frechet_distance(_moments(vectors), _moments(vectors))) < 1e-9 * variance


def test_constant_images_have_a_distance():
    constant, vectors = np.full((5, 8), 3.0, np.float32), _features(10, 200, 8)
    moments = _moments(vectors)
    expected = np.square(moments.mean - 3.0).sum() + np.trace(moments.covariance)
    assert frechet_of_features(constant, constant) == 0.0
    assert frechet_of_features(constant, vectors) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(_moments(constant), moments) == pytest.approx(expected, rel=1e-12)
    assert bootstrap(moments, constant, seed=0).error == 0.0


def test_an_influence_is_what_more_weight_on_an_image_does():
    """Against the distance with one image counted a little more, by finite differences."""
    reference, vectors = _moments(_features(11, 900, 12)), _features(12, 150, 12, shift=0.2)
    found = influences(reference, vectors)
    assert found.mean() == pytest.approx(0.0, abs=1e-9)

    def weighted(image, more):
        weights = np.full(150, 1.0 / 150)
        weights[image] += more
        weights /= weights.sum()
        moments = Moments(12)
        moments.count, moments.mean = 150, weights @ vectors
        away = vectors - moments.mean
        moments.scatter = (away * weights[:, None]).T @ away * 150
        return frechet_distance(reference, moments)

    slopes = [(weighted(i, 1e-5) - weighted(i, -1e-5)) / 2e-5 for i in range(150)]
    assert np.allclose(slopes, found, atol=1e-4 * found.std())


def _population(size):
    """A reference and a generator as distributions of known distance: moments, a sampler."""
    generator = np.random.default_rng(13)
    scale = np.sqrt(1.0 / np.arange(1, size + 1))
    basis = np.linalg.qr(np.eye(size) + 0.05 * generator.normal(size=(size, size)))[0]
    reference, made = Moments(size), Moments(size)
    reference.count = made.count = 2
    reference.scatter, root = np.diag(scale**2), basis * scale * 0.9
    made.scatter, made.mean = root @ root.T, np.full(size, 0.05)

    def sample(count):
        return (generator.normal(size=(count, size)) @ root.T + 0.05).astype(np.float32)

    return reference, frechet_distance(reference, made), sample


def _to_reference(reference, vectors):
    return frechet_distance(reference, moments_of(vectors))


@pytest.mark.parametrize("count", [24, 120, 480])
def test_the_interval_covers_the_mean_distance_of_as_many_images(count):
    """95 % intervals of 100 sets, at 1, 5 and 20 images per feature."""
    reference, _, sample = _population(24)
    sets = [sample(count) for _ in range(100)]
    mean = np.mean([_to_reference(reference, vectors) for vectors in sets])
    found = [bootstrap(reference, vectors, seed=0, replicates=200) for vectors in sets]
    covered = sum(one.low <= mean <= one.high for one in found)
    assert covered >= 88
    spread = np.std([_to_reference(reference, vectors) for vectors in sets])
    assert 0.7 < np.mean([one.error for one in found]) / spread < 1.5


def test_the_interval_follows_its_seed_and_confidence():
    reference, _, sample = _population(8)
    vectors = sample(100)
    one = bootstrap(reference, vectors, seed=1)
    assert one == bootstrap(reference, vectors, seed=1)
    assert one != bootstrap(reference, vectors, seed=2)
    narrow = bootstrap(reference, vectors, seed=1, confidence=0.5)
    assert one.low < narrow.low < narrow.high < one.high
    assert one.low < _to_reference(reference, vectors) < one.high


def test_the_distance_of_infinitely_many_images_is_free_of_the_bias_of_few():
    reference, true, sample = _population(24)
    sets = [sample(200) for _ in range(40)]
    told = []
    found = [extrapolated(reference, one, seed=0, advance=told.append) for one in sets]
    bias = np.mean([_to_reference(reference, one) for one in sets]) - true
    assert bias > 0.05
    assert abs(np.mean([one.value for one in found]) - true) < 0.2 * bias
    assert found[0].counts[0] == 50
    assert found[0].counts[-1] == 200
    assert found[0].distances[-1] == pytest.approx(_to_reference(reference, sets[0]))
    assert found[0].slope > 0
    assert found[0] == extrapolated(reference, sets[0], seed=0)
    assert sum(told) == 15 * 40


def test_too_few_images_cannot_be_extrapolated():
    reference, _, sample = _population(8)
    with pytest.raises(GanpipeError, match="at least 30 images, there are 29"):
        extrapolated(reference, sample(29), seed=0)
