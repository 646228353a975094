"""Usefulness: good, mislabelled and collapsed images are told apart by both accuracies."""

from functools import cache

import numpy as np
import pytest
from sklearn.datasets import load_digits

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.usefulness import (
    Labelled,
    hindrance,
    read_judge,
    trained_judge,
    usefulness,
    write_judge,
)

CLASSES = [str(number) for number in range(10)]
SHOWN = 4_000


@cache
def _parts():
    """Real digits for training, testing, and as a perfect generator's: labelled images."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    images = (digits.images * 15.9).astype(np.uint8)[..., None][order]
    labels = digits.target.astype(np.int64)[order]
    edges = [700, 1100]
    return [
        Labelled(pixels.__getitem__, numbers)
        for pixels, numbers in zip(np.split(images, edges), np.split(labels, edges), strict=True)
    ]


@cache
def _judge(count=697):
    real, test, _ = _parts()
    return trained_judge(real, test, CLASSES, count, shown=SHOWN)


def _measured(generated, count=697):
    return usefulness(generated, _parts()[1], _judge(count), shown=SHOWN)


@cache
def _perfect():
    return _measured(_parts()[2])


def test_a_perfect_generator_is_as_useful_as_real_images():
    found = _perfect()
    assert found.count == 697
    assert found.real_to_real > 0.9
    assert found.generated_to_real == pytest.approx(found.real_to_real, abs=0.05)
    assert found.real_to_generated == pytest.approx(found.real_to_real, abs=0.05)


def test_the_same_images_give_the_same_accuracies():
    assert _measured(_parts()[2]) == _perfect()


def test_images_of_wrong_classes_teach_nothing():
    read, labels = _parts()[2]
    found = _measured(Labelled(read, np.random.default_rng(0).permutation(labels)))
    assert found.generated_to_real < 0.35
    assert found.real_to_generated < 0.25
    assert found.real_to_real == _perfect().real_to_real


def test_a_collapsed_generator_is_right_but_teaches_little():
    """One image of each class over and over: GAN-test stays high, the score falls."""
    read, labels = _parts()[0]
    firsts = np.array([np.flatnonzero(labels == number)[0] for number in range(10)])
    same = np.arange(690) % 10
    found = _measured(Labelled(lambda numbers: read(firsts[same[numbers]]), same))
    assert found.real_to_generated > 0.85
    assert found.generated_to_real < found.real_to_real - 0.15


def test_of_the_larger_set_as_many_images_are_used():
    read, labels = _parts()[2]
    asked = []

    def watched(numbers):
        asked.append(numbers)
        return read(numbers)

    found = _measured(Labelled(watched, labels), 300)
    assert found.count == 300
    # the first of all is asked for its shape
    assert len(np.unique(np.concatenate(asked))) == 300


def test_accuracies_of_the_classes_average_to_that_of_all():
    found, labels = _perfect(), _parts()[1].labels
    shares = np.bincount(labels) / len(labels)
    assert found.generated_to_real == pytest.approx(shares @ found.generated_to_real_by_class)


def test_progress_comes_to_what_was_promised():
    done = []
    real, test, generated = _parts()
    judge = trained_judge(real, test, CLASSES, 697, shown=700, advance=done.append)
    usefulness(generated, test, judge, shown=700, advance=done.append)
    whole_batches = 5 * 128
    assert sum(done) == 2 * whole_batches + 2 * len(test.labels) + 697


def test_a_missing_class_is_named():
    read, labels = _parts()[2]
    kept = np.flatnonzero(labels != 3)
    with pytest.raises(GanpipeError, match="the generated images have none of 3"):
        _measured(Labelled(lambda numbers: read(kept[numbers]), labels[kept]))


def test_a_judge_that_was_kept_judges_the_same(tmp_path):
    write_judge(tmp_path, _judge())
    again = usefulness(_parts()[2], _parts()[1], read_judge(tmp_path), shown=SHOWN)
    assert again == _perfect()


@pytest.mark.parametrize(
    ("labels", "classes", "shape", "why"),
    [
        ([0, 1], 2, (8, 256), ""),
        ([0, 1], 2, (8, 257), "sides of 8 ... 256 pixels, not 8x257"),
        ([0, 1], 2, (7, 8), "sides of 8 ... 256 pixels, not 7x8"),
        ([0, 0], 1, (8, 8), "at least 2 classes"),
        ([1, 1], 2, (8, 8), "no test images of 0"),
        ([0], 9, (8, 8), "no test images of 1, 2, 3, 4, 5 ..."),
    ],
)
def test_what_stands_in_the_way_is_said_beforehand(labels, classes, shape, why):
    found = hindrance({"test": np.array(labels)}, CLASSES[:classes], shape)
    assert found.endswith(why) if why else found == ""
    assert bool(found) is bool(why)
