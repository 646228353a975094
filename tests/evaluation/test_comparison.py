"""Comparisons of features: the measures that can be made are, and each other says why not."""

import tracemalloc

import numpy as np
import pytest

from ganpipe.errors import GanpipeError
from ganpipe.evaluation import features as stored
from ganpipe.evaluation.comparison import Real, compare, numbers_of, real_side
from ganpipe.evaluation.distances import Extrapolation, moments_of
from ganpipe.evaluation.manifold import Manifold

SIZE = 8


def _drawn(count, seed=0, shift=0.0, scale=1.0):
    drawn = np.random.default_rng(seed).normal(shift, scale, (count, SIZE))
    return drawn.astype(np.float32)


def _sides(count=200, classes=2):
    """Real and generated features, in each class around another place."""
    labels = np.arange(count) % classes
    real, made = (_drawn(count, seed) + 10.0 * labels[:, None] for seed in (1, 2))
    return real.astype(np.float32), made.astype(np.float32), labels


def test_every_measure_has_its_number():
    real, made, labels = _sides()
    found = compare(real_side(real, 1000, 1, labels, ["a", "b"]), made, labels)
    numbers = numbers_of(found, "lite0", 1000)
    measures = ("fid", "kid", "precision", "recall", "density", "coverage", "intra")
    assert set(numbers) == {f"{name}_lite0_1k" for name in (*measures, "class_coverage")}
    assert found.interval.low < found.distance < found.interval.high
    assert isinstance(found.extrapolation, Extrapolation)
    assert np.isfinite(list(numbers.values())).all()


def test_a_set_against_itself_is_at_no_distance():
    real = _drawn(300)
    found = compare(real_side(real, 1000, 1), real, sure=False)
    numbers = numbers_of(found, "lite0", 300)
    assert numbers["fid_lite0_300"] == pytest.approx(0.0, abs=1e-9)
    assert numbers["precision_lite0_300"] == numbers["recall_lite0_300"] == 1.0
    assert numbers["coverage_lite0_300"] == 1.0


def test_a_collapsed_generator_is_precise_and_recalls_little():
    found = compare(real_side(_drawn(400), 1000, 1), _drawn(400, 3, scale=0.05), sure=False)
    assert found.manifold.precision > 0.95
    assert found.manifold.recall < 0.1


def test_exchanged_classes_show_within_classes_alone():
    real, made, labels = _sides()
    side = real_side(real, 1000, 1, labels, ["a", "b"])
    right, wrong = (compare(side, made, each, sure=False) for each in (labels, 1 - labels))
    assert right.distance == wrong.distance
    numbers = [numbers_of(each, "lite0", 200) for each in (right, wrong)]
    assert numbers[1]["intra_lite0_200"] > 100 * numbers[0]["intra_lite0_200"]
    assert numbers[0]["class_coverage_lite0_200"] > 0.8
    assert numbers[1]["class_coverage_lite0_200"] == 0.0


@pytest.mark.parametrize("side", ["real", "generated"])
def test_a_class_that_one_set_lacks_is_named(side):
    real, made, labels = _sides(classes=3)
    lacking = np.where(labels == 2, 0, labels)
    ours, theirs = (lacking, labels) if side == "real" else (labels, lacking)
    found = compare(real_side(real, 1000, 1, ours, ["a", "b", "c"]), made, theirs, sure=False)
    assert found.classes.startswith(f"fewer than 2 {side} images of c")
    assert "intra_lite0_200" not in numbers_of(found, "lite0", 200)


@pytest.mark.parametrize(
    ("labels", "theirs", "why"),
    [
        (None, np.zeros(200, np.int64), "the real images have no classes"),
        (np.arange(200) % 2, None, "the generator knows no classes"),
    ],
)
def test_sets_without_classes_say_so(labels, theirs, why):
    real, made, _ = _sides()
    found = compare(real_side(real, 1000, 1, labels, ["a", "b"]), made, theirs, sure=False)
    assert found.classes == why


def test_statistics_alone_give_the_distance_and_say_what_is_missing():
    real, made, _ = _sides()
    found = compare(Real(moments_of(real), None, None, 1000, 1), made)
    assert found.distance == compare(real_side(real, 1000, 1), made).distance
    assert found.interval is not None
    assert found.kernel is None
    assert "only their statistics" in found.manifold
    assert set(numbers_of(found, "lite0", 200)) == {"fid_lite0_200"}


def test_too_few_images_for_neighbours_say_so():
    found = compare(real_side(_drawn(5), 1000, 1), _drawn(5, 1), sure=False)
    assert found.manifold == "needs more than 5 images on each side"
    assert np.isfinite(found.distance)


def test_too_few_images_for_a_straight_line_say_how_many_it_takes():
    found = compare(real_side(_drawn(31), 1000, 1), _drawn(31, 1))
    assert found.extrapolation.startswith("needs 32 images")
    assert isinstance(
        compare(real_side(_drawn(32), 1000, 1), _drawn(32, 1)).extrapolation, Extrapolation
    )


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (_drawn(1), "at least 2 images"),
        (np.where(np.arange(50)[:, None] == 7, np.nan, _drawn(50)), "NaN"),
        (np.where(np.arange(50)[:, None] == 7, np.inf, _drawn(50)), "infinite"),
        (_drawn(50)[:, :5], "features of 8 numbers cannot be compared with features of 5"),
    ],
    ids=["one image", "NaN", "infinite", "another network"],
)
def test_features_that_cannot_be_compared_are_an_error(bad, told):
    with pytest.raises(GanpipeError, match=told):
        compare(real_side(_drawn(50), 1000, 1), bad)


def test_constant_features_give_finite_numbers():
    same = np.ones((60, SIZE), np.float32)
    found = compare(real_side(_drawn(60), 1000, 1), same)
    assert np.isfinite(list(numbers_of(found, "lite0", 60).values())).all()
    assert found.distance == pytest.approx(
        np.square(_drawn(60).mean(0) - 1).sum() + np.cov(_drawn(60).T).trace(), rel=1e-6
    )


def test_pairs_look_at_the_stated_number_of_images_of_each_side():
    real, made, _ = _sides(300)
    side = real_side(real, 100, 1)
    assert side.neighbours.shape == (100, 5)
    found = compare(side, made, sure=False)
    assert isinstance(found.manifold, Manifold)
    assert (found.manifold.real, found.manifold.generated) == (100, 100)
    assert found.distance == compare(real_side(real, 300, 1), made, sure=False).distance


def test_the_same_features_give_the_same_numbers():
    real, made, labels = _sides()
    first, second = (
        compare(real_side(real, 100, 1, labels, ["a", "b"]), made, labels) for _ in range(2)
    )
    assert first == second


def _peak(tmp_path, count, size=64):
    """Bytes that a comparison of `count` mapped feature vectors holds at most."""
    sides = []
    for name in ("real", "made"):
        with stored.writing(tmp_path / f"{name}-{count}.npy", count, size) as file:
            for first in range(0, count, 1000):
                rows = np.random.default_rng(first).normal(size=(1000, size))
                file.add(rows.astype(np.float32))
        sides.append(stored.read(tmp_path / f"{name}-{count}.npy"))
    tracemalloc.start()
    compare(real_side(sides[0], 500, 1), sides[1])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_hardly_grows_with_the_images(tmp_path):
    few, many = _peak(tmp_path, 2_000), _peak(tmp_path, 20_000)
    # a feature vector is 256 bytes here and up to 8 KiB elsewhere, whatever is kept of it
    assert many - few < 18_000 * 100
