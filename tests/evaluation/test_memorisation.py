"""Memorisation: copies are caught, unseen real images are not, and chances are exact."""

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu, norm
from sklearn.datasets import load_digits

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.memorisation import (
    CHANCE,
    closeness,
    data_copying,
    mann_whitney,
    tail,
)
from ganpipe.evaluation.unseen import Images, fingerprints, near, own_gaps, reduced
from ganpipe.evaluation.verdict import Copies, exact_copies, verdict

NONE = Copies(0, 0, 1.0)


@cache
def _digits():
    """Train, test and more unseen images: uint8 [n, 8, 8, 1], in an order of their own."""
    images = (load_digits().images * 15.9).astype(np.uint8)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    return np.split(images[order], [900, 1350])


def _copied(count, noise=0, seed=1):
    """Training images with a little noise."""
    train, generator = _digits()[0], np.random.default_rng(seed)
    chosen = train[generator.choice(len(train), count, replace=False)].astype(np.int64)
    return np.clip(chosen + generator.integers(-noise, noise + 1, chosen.shape), 0, 255).astype(
        np.uint8
    )


def _closeness(train, test, generated, space="pixels", advance=None):
    """Of three sets of rows, with what is known of the first two."""
    return closeness(
        near(train, test, advance=advance), train, generated, space=space, advance=advance
    )


@cache
def _unseen():
    train, test, _ = _digits()
    return near(reduced(train), reduced(test))


def _prints(*sets):
    return (fingerprints(Images(images.__getitem__, np.arange(len(images)))) for images in sets)


def _found(generated):
    train, test, _ = _digits()
    found = closeness(_unseen(), reduced(train), reduced(generated), space="pixels")
    copies = exact_copies(*_prints(train, test, generated))
    return found, verdict([found], copies, len(train))


def test_a_generator_that_copies_with_noise_is_caught():
    found, said = _found(_copied(400, noise=12))
    assert said.finding == "copies"
    assert found.singled_out.excess > 0.8
    assert found.c_t < -10
    assert found.auth_pct < 5 < 40 < found.auth_pct_test


def test_unseen_real_images_are_not_accused():
    found, said = _found(_digits()[2])
    assert said.finding == "nothing found"
    assert found.singled_out.p_value > 0.01
    assert abs(found.c_t) < 3
    assert found.auth_pct == pytest.approx(found.auth_pct_test, abs=8)


def test_one_copy_in_ten_is_seen_and_counted():
    """C_T and AuthPct look at the whole and hardly move."""
    mixed = np.concatenate([_copied(45, noise=12), _digits()[2][:405]])
    found, said = _found(mixed)
    assert said.finding == "copies"
    assert found.singled_out.excess == pytest.approx(0.1, abs=0.03)
    assert found.singled_out.detectable < 0.1
    assert found.c_t > -5


def test_blurred_unseen_images_are_called_suspicious_at_most():
    """Blur moves images nearer to all training images, not to one of them."""
    blurred = uniform_filter(_digits()[2], (1, 3, 3, 1))
    found, said = _found(blurred)
    assert found.singled_out.p_value > 1e-3
    assert said.finding in ("nothing found", "suspicious")


def test_copies_come_first_among_the_suspicious():
    mixed = np.concatenate([_digits()[2][:300], _copied(10, noise=12)])
    found, _ = _found(mixed)
    worst = found.most_suspicious(10)
    assert set(worst) == set(range(300, 310))
    pixels = reduced(mixed).astype(float), reduced(_digits()[0]).astype(float)
    shown = np.linalg.norm(pixels[0][worst, None] - pixels[1][found.numbers[worst]], axis=2)
    assert np.allclose(shown, found.distances[worst])


def test_exact_copies_are_counted_and_enough_for_a_verdict():
    mixed = np.concatenate([_copied(30), _digits()[2][:300]])
    train, test, _ = _digits()
    copies = exact_copies(*_prints(train, test, mixed))
    assert (copies.generated, copies.test) == (30, 0)
    said = verdict([], copies, len(train))
    assert said.finding == "copies"
    assert "30 generated images equal a training image" in said.text


def test_a_single_exact_copy_is_named_without_a_judgement():
    assert verdict([], Copies(1, 0, 0.5), 100).finding == "suspicious"


def test_a_test_split_that_holds_training_images_is_named():
    said = verdict([], Copies(0, 3, 1.0), 100)
    assert "3 test images equal a training image" in said.text


def test_few_images_are_said_to_be_too_few():
    train, test, unseen = (reduced(images) for images in _digits())
    found = _closeness(train, test[:12], unseen[:12], space="pixels")
    said = verdict([found], NONE, len(train))
    assert said.finding == "too few images"
    assert "Known limits" in said.text


def test_training_images_that_were_not_compared_are_said_to_be_unseen():
    train, test, unseen = (reduced(images) for images in _digits())
    found = _closeness(train[:450], test, unseen, space="features")
    said = verdict([found], NONE, len(train))
    assert "only 450 of 900 training images" in said.text


@pytest.mark.parametrize(("g", "m", "level"), [(4, 5, 0.4), (5, 4, 0.01), (3, 6, 0.5)])
def test_the_chance_of_a_tail_is_that_of_counting_all_orders(g, m, level):
    """Unseen real images: every order of generated and test values is as likely."""
    tails = []
    for places in combinations(range(g + m), g):
        generated = np.array(places, float)
        test = np.array(sorted(set(range(g + m)) - set(places)), float)
        tails.append(tail(generated, test, level))
    shares = np.array([each.share for each in tails])
    assert shares.mean() == pytest.approx(tails[0].expected)
    for each in tails:
        assert each.p_value == pytest.approx((shares >= each.share - 1e-9).mean())


def test_values_as_low_as_those_of_test_images_are_no_finding():
    same = np.zeros(50)
    assert tail(same, same, 0.1).share == 0.0
    assert tail(same, same, 0.1).p_value == 1.0


def test_the_smallest_visible_share_is_where_chance_ends():
    """Copies among images that lie far away."""
    test = np.arange(1000, dtype=float)
    smallest = tail(test, test, 0.01).detectable
    for copies, seen in ((round(smallest * 1000) - 1, False), (round(smallest * 1000), True)):
        values = np.concatenate([np.full(copies, -1.0), np.full(1000 - copies, 2000.0)])
        assert (tail(values, test, 0.01).p_value < CHANCE) is seen


def test_the_rank_test_agrees_with_scipy_with_ties_and_without():
    generator = np.random.default_rng(0)
    for first, second in (
        (generator.normal(size=50), generator.normal(0.3, size=70)),
        (generator.integers(0, 9, 40) * 1.0, generator.integers(1, 9, 30) * 1.0),
    ):
        outside = mannwhitneyu(
            first, second, alternative="less", method="asymptotic", use_continuity=False
        )
        assert norm.cdf(mann_whitney(first, second)) == pytest.approx(outside.pvalue, rel=1e-9)
    assert mann_whitney(np.zeros(5), np.zeros(7)) == 0.0


def test_the_data_copying_test_is_the_average_of_its_cells():
    """Weighted by test images; a cell with few generated images is left out."""
    generator = np.random.default_rng(0)
    made, unseen = generator.normal(size=105), generator.normal(1, size=200)
    cell, unseen_cell = np.repeat([0, 1, 2], [50, 50, 5]), np.repeat([0, 1, 2], [120, 40, 40])
    z = [mann_whitney(made[cell == n], unseen[unseen_cell == n]) for n in (0, 1)]
    expected = (120 * z[0] + 40 * z[1]) / 160
    assert data_copying(made, cell, unseen, unseen_cell) == pytest.approx(expected)


def test_authenticity_agrees_with_all_pairs():
    """Also where training images come twice."""
    train, test, unseen = (reduced(images).astype(np.float32) for images in _digits())
    train = np.concatenate([train, train[:50]])
    found = _closeness(train, test, unseen, space="features")
    own = cdist(train, train)
    np.fill_diagonal(own, np.inf)
    other = cdist(unseen, train)
    expected = 100 * (own.min(axis=1)[other.argmin(axis=1)] < other.min(axis=1)).mean()
    assert found.auth_pct == pytest.approx(expected)


def test_the_same_images_give_the_same_numbers():
    unseen = _digits()[2]
    (first, said), (again, repeated) = _found(unseen), _found(unseen)
    assert said == repeated
    assert np.array_equal(first.numbers, again.numbers)
    assert np.array_equal(first.distances, again.distances)


def test_pixels_are_averaged_over_areas():
    image = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), np.uint8)
    means = image.reshape(2, 32, 2, 32, 3, 3).mean(axis=(2, 4))
    assert np.abs(reduced(image).reshape(2, 32, 32, 3) - means).max() <= 0.5
    assert reduced(image[:, :20, :32]).shape == (2, 20 * 32 * 3)
    assert np.array_equal(reduced(image[:, :8, :8]), image[:, :8, :8].reshape(2, -1))


def test_progress_comes_to_no_more_than_was_promised():
    done = []
    _closeness(*(reduced(images) for images in _digits()), advance=done.append)
    most = 2 * (len(_digits()[1]) + len(_digits()[2]))
    assert most / 2 <= sum(done) <= most


def test_what_cannot_be_compared_is_refused():
    rows = np.zeros((20, 4), np.float32)
    with pytest.raises(GanpipeError, match="there are none: set"):
        _closeness(rows, rows[:0], rows, space="features")
    with pytest.raises(GanpipeError, match="need 8 training images: 7"):
        _closeness(rows[:7], rows, rows, space="features")
    with pytest.raises(GanpipeError, match="NaN"):
        _closeness(rows, rows, np.full((2, 4), np.nan, np.float32), space="features")
    with pytest.raises(GanpipeError, match="no generated ones: raise"):
        _closeness(rows, rows, rows[:0])


def test_gaps_that_are_known_are_not_looked_for_again():
    """Only rows that no test image has asked about cost anything."""
    train = reduced(_digits()[0])
    own = cdist(train, train)
    np.fill_diagonal(own, np.inf)
    done = []
    first = own_gaps(train, np.arange(5), np.full(len(train), np.nan), done.append)
    gaps = own_gaps(train, np.array([2, 3, 7]), first, done.append)
    assert done == [5, 1]
    np.testing.assert_allclose(gaps[[0, 1, 2, 3, 4, 7]], own.min(axis=1)[[0, 1, 2, 3, 4, 7]])
    assert np.isnan(np.delete(gaps, [0, 1, 2, 3, 4, 7])).all()
