"""EfficientNet-Lite0: the network its package ships, made faster without changing it."""

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from sklearn.datasets import load_sample_image

from ganpipe.evaluation.extractors.lite0 import Lite0, weights_path

DAISY = 985  # ImageNet's number of the class


def _plain():
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights_path(), weights_only=True))
    return network.eval()


def _noise(count, size=28, channels=1):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)


def test_features_are_those_of_the_plain_network():
    extractor, images = Lite0(), _noise(3, 40, 3)
    with torch.inference_mode():
        maps = _plain().extract_features(extractor._prepare(torch.from_numpy(images)))
        expected = maps.mean(dim=(2, 3)).numpy()
    assert np.abs(extractor(images) - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_photograph_of_a_flower_is_recognised():
    """Preprocessing is right when the classifier on top of the features names the picture."""
    photo = load_sample_image("flower.jpg")[:, 106:533]
    network = _plain()
    with torch.inference_mode():
        features = torch.from_numpy(Lite0()(photo[None]))
        scores = network._fc(features)
    assert scores.argmax().item() == DAISY


def test_the_batch_never_changes_a_feature():
    images = _noise(10)
    whole = Lite0(batch=10)(images)
    single = Lite0(batch=1)(images)
    assert np.abs(whole - single).max() <= 1e-5 * np.abs(whole).max()


def test_grey_is_the_same_as_its_three_equal_channels():
    images = _noise(4)
    assert np.array_equal(Lite0()(images), Lite0()(images.repeat(3, axis=3)))


def test_the_fast_mode_has_a_name_of_its_own_and_a_small_error():
    images = _noise(32)
    exact, fast = Lite0()(images), Lite0(precision="bf16")(images)
    assert (Lite0().name, Lite0(precision="bf16").name) == ("lite0", "lite0bf16")
    assert np.linalg.norm(exact - fast) / np.linalg.norm(exact) < 0.05


@pytest.mark.parametrize("size", [8, 28, 64, 300])
def test_every_size_gives_1280_features(size):
    assert Lite0()(_noise(1, size)).shape == (1, 1280)
