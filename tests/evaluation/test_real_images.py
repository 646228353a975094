"""The reference: a function of the pixels alone, with floors measured as generators are."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.spatial.distance import cdist

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.classifier import accuracy_by_class
from ganpipe.evaluation.distances import frechet_of_features
from ganpipe.evaluation.measure import opened
from ganpipe.evaluation.real_images import make_reference
from ganpipe.evaluation.reference import read_reference
from ganpipe.evaluation.unseen import read_unseen
from ganpipe.evaluation.usefulness import read_judge
from ganpipe.params import EvaluateParams
from tests.evaluation.digits import digits, make_dataset, splits

PARAMS = EvaluateParams(extractor="classifier", samples=60, threads=1)


def _files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data sets and a reference of the classifier's features."""
    root = tmp_path_factory.mktemp("reference")
    make_reference(*splits(root), PARAMS, root / "reference")
    return root


def test_the_same_pixels_elsewhere_give_the_same_bytes(place, tmp_path):
    make_reference(*splits(tmp_path / "another name"), PARAMS, tmp_path / "other")
    assert _files(tmp_path / "other") == _files(place / "reference")


def test_nothing_in_it_says_where_it_was_made(place):
    for name, content in _files(place / "reference").items():
        assert str(place).encode() not in content, name


def test_other_pixels_are_another_protocol(place, tmp_path):
    images, labels = digits()
    images = images.copy()
    images[:120, 0, 0] = 1
    train = make_dataset(tmp_path / "train", images[:120], labels[:120])
    _, test = splits(tmp_path / "rest")
    make_reference(train, test, PARAMS, tmp_path / "reference")
    ours, theirs = (read_reference(folder / "reference").protocol for folder in (place, tmp_path))
    assert {key for key in ours if ours[key] != theirs[key]} == {
        "dataset_sha256",
        "reference_sha256",
        "weights_sha256",
    }


def test_a_classifier_s_distance_is_called_fcd(place):
    known = read_reference(place / "reference")
    assert known.protocol["metric"] == "fcd_classifier_60"
    assert "fcd_classifier_60" in known.floors
    assert not [name for name in known.floors if "fid" in name]


def test_statistics_and_features_are_of_the_same_images(place):
    known = read_reference(place / "reference")
    features = np.asarray(known.features, np.float64)
    assert features.shape == (60, 128)
    np.testing.assert_allclose(known.moments.mean, features.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(known.moments.covariance, np.cov(features.T), atol=1e-6)
    assert known.neighbours.shape == (60, 5)
    assert len(set(known.numbers.tolist())) == 60


def test_the_floor_is_measured_on_as_many_other_real_images(tmp_path):
    train, test = splits(tmp_path, 40, 30)
    params = EvaluateParams(samples=35, threads=1)
    make_reference(train, test, params, tmp_path / "reference")
    known = read_reference(tmp_path / "reference")
    _, extractor = opened(tmp_path / "reference", params)
    rest = np.setdiff1d(np.arange(40), known.numbers)
    # the five training images that are left, and thirty of the test images
    others = np.concatenate([train.batch(rest), test.batch(np.arange(30))])
    distance = frechet_of_features(known.features, extractor(others))
    assert known.floors["fid_lite0_35"] == pytest.approx(distance, rel=1e-5)
    assert {"kid_lite0_35", "precision_lite0_35", "recall_lite0_35"} <= known.floors.keys()
    np.testing.assert_array_equal(extractor(train.batch(known.numbers)), np.asarray(known.features))
    assert len(known.test_features) == 30


def test_a_data_set_without_test_images_still_has_a_reference(tmp_path):
    images, _ = digits()
    train = make_dataset(tmp_path / "train", images[:24])
    test = make_dataset(tmp_path / "test", images[:0])
    make_reference(train, test, EvaluateParams(threads=1), tmp_path / "reference")
    known = read_reference(tmp_path / "reference")
    assert known.protocol["samples"] == 12
    assert known.test_features.shape == (0, 1280)


def test_few_images_have_no_neighbours_and_no_measures_of_them(tmp_path):
    train, test = splits(tmp_path, 4, 4, labelled=False)
    make_reference(train, test, EvaluateParams(threads=1), tmp_path / "reference")
    known = read_reference(tmp_path / "reference")
    assert len(known.neighbours) == 0
    assert set(known.floors) == {"fid_lite0_4", "kid_lite0_4"}


@pytest.mark.parametrize(
    ("train", "test", "samples", "told"),
    [
        (40, 20, 31, r"evaluate\.samples=31 needs 31 training images.*2 \.\.\. 30"),
        (40, 60, 41, r"2 \.\.\. 40"),
        (40, 20, 1, r"evaluate\.samples=1 "),
        (1, 20, 0, "at least 2 training images"),
        (3, 0, 0, "at least 2 training images"),
    ],
)
def test_too_few_images_are_an_error_that_says_how_many_there_may_be(
    train, test, samples, told, tmp_path
):
    sets = splits(tmp_path, train, test, labelled=False)
    with pytest.raises(GanpipeError, match=told):
        make_reference(*sets, EvaluateParams(samples=samples), tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


def test_a_classifier_needs_classes(tmp_path):
    sets = splits(tmp_path, labelled=False)
    with pytest.raises(GanpipeError, match=r"it has none: set data\.labels"):
        make_reference(*sets, PARAMS, tmp_path / "reference")
    assert not (tmp_path / "reference").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"samples": 50}, "samples=60"),
        ({"seed": 2}, "seed=1"),
        ({"neighbours": 50}, "pairs=60"),
        ({"extractor": "lite0"}, "extractor=classifier"),
    ],
)
def test_a_reference_of_other_parameters_is_refused(place, change, told):
    with pytest.raises(GanpipeError, match=rf"{told}.*run the stage reference"):
        opened(place / "reference", PARAMS.model_copy(update=change))


def test_a_reference_of_another_ganpipe_is_refused(tmp_path):
    (tmp_path / "reference.json").write_text(json.dumps({"protocol": {}}))
    with pytest.raises(GanpipeError, match="another ganpipe"):
        read_reference(tmp_path)


def test_its_numbers_are_plain_arrays(place):
    kept = load_file(place / "reference" / "reference.safetensors")
    assert set(kept) == {"neighbours", "numbers", "test_numbers"}
    moments = load_file(place / "reference" / "statistics" / "moments.safetensors")
    assert set(moments) == {"mean", "scatter"}


def test_it_keeps_what_every_generator_is_held_against(place):
    """Unseen images beside all training images, and a judge that learnt as many as are compared."""
    train, test = (Dataset(place / name) for name in ("train", "test"))
    known = read_unseen(place / "reference" / "unseen.safetensors")
    reference = read_reference(place / "reference")
    chosen = reference.test_numbers
    unseen = test.batch(chosen).reshape(len(chosen), -1).astype(float)
    pixels = train.batch(np.arange(len(train))).reshape(len(train), -1).astype(float)
    apart = cdist(unseen, pixels)
    np.testing.assert_allclose(known.pixels.distances, np.sort(apart, axis=1)[:, :7])
    own = cdist(pixels, pixels)
    np.fill_diagonal(own, np.inf)
    asked = np.unique(known.pixels.numbers[:, 0])
    np.testing.assert_allclose(known.pixels.gaps[asked], own.min(axis=1)[asked])
    apart = cdist(reference.test_features, reference.features)
    np.testing.assert_allclose(known.features.distances, np.sort(apart, axis=1)[:, :7], rtol=1e-5)
    assert (len(known.train), len(known.test)) == (len(train), len(chosen))
    judge = read_judge(place / "reference" / "usefulness")
    assert judge.classifier.record["images"] == 60
    shares = accuracy_by_class(judge.classifier, test.batch, test.labels)
    np.testing.assert_array_equal(judge.by_class, shares)
    assert reference.left_out == {}


@pytest.mark.parametrize(
    ("labelled", "usefulness", "why"),
    [
        (False, "auto", "the real images have no classes"),
        (True, "never", "evaluate.usefulness=never"),
    ],
)
def test_what_real_images_cannot_tell_is_kept_too(labelled, usefulness, why, tmp_path):
    params = EvaluateParams(samples=10, threads=1, usefulness=usefulness)
    make_reference(*splits(tmp_path, 20, 12, labelled), params, tmp_path / "reference")
    known = read_reference(tmp_path / "reference")
    assert known.left_out["usefulness"] == why
    assert known.left_out["memorisation"].startswith("needs 20 images")
    assert not (tmp_path / "reference" / "work").exists()
