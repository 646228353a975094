"""The classifier: it learns, the same data give the same bytes, its files are checked."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.classifier import (
    DESCRIPTION,
    FEATURES,
    WEIGHTS,
    accuracy_by_class,
    build_network,
    load_classifier,
    save_classifier,
    train_classifier,
)
from ganpipe.evaluation.distances import Moments, frechet_distance
from ganpipe.evaluation.extractors.classifier import ClassifierExtractor

CLASSES = [str(number) for number in range(10)]


@cache
def _digits():
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    images = (digits.images * 15.9).astype(np.uint8)[..., None]
    return images[order], digits.target[order].astype(np.int64)


@cache
def _trained():
    images, labels = _digits()
    return train_classifier(images[:1300].__getitem__, labels[:1300], CLASSES, shown=6_000)


def _noise(count, height=8, width=8, channels=1):
    shape = (count, height, width, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_it_learns_to_tell_digits_it_has_not_seen():
    images, labels = _digits()
    by_class = accuracy_by_class(_trained(), images[1300:].__getitem__, labels[1300:])
    assert by_class.shape == (10,)
    assert by_class.mean() > 0.93


def test_classes_without_images_have_no_accuracy():
    images, labels = _digits()
    zeros = np.flatnonzero(labels == 0)
    by_class = accuracy_by_class(_trained(), images[zeros].__getitem__, labels[zeros])
    assert by_class[0] > 0.9
    assert np.isnan(by_class[1:]).all()


def test_the_same_data_and_seed_give_the_same_bytes_whatever_was_drawn_before(tmp_path):
    images, labels = _digits()
    digests = []
    for number, seed in enumerate((3, 3, 4)):
        torch.rand(number + 1)
        np.random.default_rng().random()
        classifier = train_classifier(images.__getitem__, labels, CLASSES, seed=seed, shown=500)
        digests.append(save_classifier(tmp_path, classifier))
    assert digests[0] == digests[1] != digests[2]


def test_training_leaves_torch_s_generator_as_it_was():
    images, labels = _digits()
    before = torch.get_rng_state()
    train_classifier(images.__getitem__, labels, CLASSES, shown=128)
    assert torch.equal(before, torch.get_rng_state())


def test_what_is_loaded_is_what_was_saved(tmp_path):
    digest = save_classifier(tmp_path, _trained())
    extractor, images = ClassifierExtractor(tmp_path), _digits()[0][:50]
    assert extractor.weights_sha256 == digest
    features = extractor(images)
    assert (features.shape, features.dtype) == ((50, FEATURES), np.float32)
    assert np.array_equal(features, _trained().features(images))
    assert extractor.classifier.record == {"images": 1300, "shown": 6_000, "seed": 0}


def test_the_batch_never_changes_a_feature():
    images = _noise(300)
    whole = _trained().features(images)
    single = np.concatenate([_trained().features(image[None]) for image in images])
    assert np.abs(whole - single).max() <= 1e-5 * np.abs(whole).max()


def test_no_feature_is_the_same_for_every_image():
    assert (_trained().features(_digits()[0]).std(axis=0) > 0).all()


def test_no_images_have_no_features():
    assert _trained().features(_noise(0)).shape == (0, FEATURES)


def test_its_distance_tells_noise_from_digits(tmp_path):
    save_classifier(tmp_path, _trained())
    extractor = ClassifierExtractor(tmp_path)
    sets = {}
    images = _digits()[0]
    for name, part in (("a", images[:600]), ("b", images[600:1200]), ("noise", _noise(600))):
        sets[name] = Moments(extractor.features)
        sets[name].add(extractor(part))
    floor = frechet_distance(sets["a"], sets["b"])
    assert frechet_distance(sets["a"], sets["noise"]) > 20 * floor


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(8, 8, 1), (8, 256, 3), (28, 28, 1), (33, 50, 3), (256, 256, 3)],
)
def test_every_size_and_every_pixel_counts(height, width, channels):
    network = build_network(height, width, channels, 4).eval()
    pixels = torch.rand(1, channels, height, width, requires_grad=True)
    assert network[:-1](pixels).shape == (1, FEATURES)
    network[0](pixels).sum().backward()
    assert (pixels.grad != 0).all()


def test_images_of_another_shape_are_refused():
    with pytest.raises(GanpipeError, match=r"\(8, 8, 1\).*these have \(8, 9, 1\)"):
        _trained().features(_noise(2, width=9))


@pytest.mark.parametrize(
    ("labels", "size", "message"),
    [
        ([0, 0, 0], 8, "at least 2 classes, these have 1"),
        ([0, 1, 10], 8, "label 10 names none of the 10 classes"),
        ([0, -1, 1], 8, "label -1 names none"),
        ([0, 1, 2], 7, "sides of 8 ... 256 pixels, not 7x7"),
    ],
)
def test_what_cannot_be_learned_is_refused(labels, size, message):
    images = _noise(3, size, size)
    with pytest.raises(GanpipeError, match=message):
        train_classifier(images.__getitem__, np.array(labels), CLASSES)


def test_damaged_files_are_refused(tmp_path):
    with pytest.raises(GanpipeError, match=r"holds no classifier .*run the stage reference"):
        load_classifier(tmp_path)
    save_classifier(tmp_path, _trained())
    weights = tmp_path / WEIGHTS
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(GanpipeError, match="its sha256 is"):
        load_classifier(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 9}, "has format 9"), ({"classes": ["a", "b"]}, "does not fit its JSON")],
)
def test_a_description_of_something_else_is_refused(tmp_path, change, message):
    save_classifier(tmp_path, _trained())
    about = json.loads((tmp_path / DESCRIPTION).read_text())
    (tmp_path / DESCRIPTION).write_text(json.dumps({**about, **change}))
    with pytest.raises(GanpipeError, match=message):
        load_classifier(tmp_path)


def test_progress_counts_every_image_shown():
    images, labels = _digits()
    done = []
    train_classifier(images.__getitem__, labels, CLASSES, shown=1280, advance=done.append)
    assert sum(done) == 1280
