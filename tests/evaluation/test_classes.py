"""Measures within classes: mixed-up classes are seen, missing ones are named."""

import numpy as np
import pytest

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.classes import class_measures
from ganpipe.evaluation.distances import frechet_distance, frechet_of_features, moments_of

NAMES = ["cat", "dog", "emu"]


def _classes(seed, each=120, size=24):
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(3), each))
    vectors = generator.normal(size=(3 * each, size)) + 4.0 * labels[:, None]
    return vectors.astype(np.float32), labels


def test_each_class_is_compared_with_itself_alone():
    real, labels = _classes(0)
    generated, given = _classes(1)
    generated[given == 1] *= 0.1  # dogs collapse
    told = []
    found = class_measures(real, labels, generated, given, NAMES, advance=told.append)
    assert [one.name for one in found] == NAMES
    assert [(one.real, one.generated) for one in found] == [(120, 120)] * 3
    for label, one in enumerate(found):
        exact = frechet_distance(
            moments_of(real[labels == label]), moments_of(generated[given == label])
        )
        assert one.distance == pytest.approx(exact, rel=1e-9)
    cat, dog, emu = found
    assert dog.distance > 5 * max(cat.distance, emu.distance)
    assert dog.coverage == 0.0
    assert min(cat.coverage, emu.coverage) > 0.7
    assert sum(told) == 3


def test_labels_that_the_generator_ignores_are_seen_only_within_classes():
    real, labels = _classes(2)
    generated, given = _classes(3)
    mixed = np.random.default_rng(0).permutation(given)
    right = class_measures(real, labels, generated, given, NAMES)
    wrong = class_measures(real, labels, generated, mixed, NAMES)
    assert frechet_of_features(real, generated) < 1
    assert sum(one.distance for one in wrong) > 20 * sum(one.distance for one in right)


def test_a_class_with_fewer_images_than_features_is_exact():
    real, labels = _classes(4, each=12)
    generated, given = _classes(5, each=15)
    found = class_measures(real, labels, generated, given, NAMES)
    exact = frechet_distance(moments_of(real[labels == 2]), moments_of(generated[given == 2]))
    assert found[2].distance == pytest.approx(exact, rel=1e-7)


def test_a_class_without_enough_neighbours_has_no_coverage():
    real, labels = _classes(6, each=5)
    found = class_measures(real, labels, real, labels, NAMES)
    assert [one.coverage for one in found] == [None] * 3


def test_missing_classes_are_named():
    real, labels = _classes(7)
    rare = labels != 1
    rare[np.flatnonzero(labels == 1)[0]] = True
    with pytest.raises(GanpipeError, match=r"fewer than 2 generated images: dog \(1\)"):
        class_measures(real, labels, real[rare], labels[rare], NAMES)
    with pytest.raises(GanpipeError, match=r"fewer than 2 real images: cat \(0\), dog \(1\)"):
        class_measures(real[rare & (labels > 0)], labels[rare & (labels > 0)], real, labels, NAMES)
    with pytest.raises(GanpipeError, match=r"0 ... 2, but there are 2 classes"):
        class_measures(real, labels, real, labels, NAMES[:2])
