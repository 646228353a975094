"""EfficientNet-Lite0: the network its package ships, made faster without changing it."""

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image
from torch.nn.functional import interpolate

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import frechet_distance, moments_of
from ganpipe.evaluation.extractors import fused, make_extractor
from ganpipe.evaluation.extractors.lite0 import Lite0, weights_path
from tests.evaluation.digits import digits

DAISY = 985  # ImageNet's number of the class


def _plain():
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights_path(), weights_only=True))
    return network.eval()


def _noise(count, size=28, channels=1):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, channels), np.uint8)


def _plain_features(images):
    """By torch's own resize and the network as its package ships it."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    large = interpolate(pixels, (224, 224), mode="bilinear", align_corners=False, antialias=True)
    return _plain().extract_features((large - 127) / 128).mean(dim=(2, 3))


@pytest.mark.parametrize("size", [28, 40, 300])
def test_features_are_those_of_the_plain_network(size):
    extractor, images = Lite0(), _noise(3, size, 3)
    with torch.inference_mode():
        expected = _plain_features(images).numpy()
    assert np.abs(extractor(images) - expected).max() < 1e-4 * np.abs(expected).max()


def test_features_are_the_same_where_pytorch_has_no_onednn(monkeypatch):
    images = _noise(4)
    with_it = Lite0()(images)
    monkeypatch.setattr(fused, "_ONEDNN", False)
    assert np.abs(Lite0()(images) - with_it).max() <= 1e-5 * with_it.max()


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
    assert np.linalg.norm(exact - fast) / np.linalg.norm(exact) < 0.035


def test_the_fast_mode_gives_nearly_the_same_distance_where_black_turns_faintly_grey():
    """Off by 0.4 %, but by 2.2 % were the first layers in bf16 too (10 % on Fashion-MNIST)."""
    sharp, others = digits()[0][:48], digits()[0][48:96]
    blurred = np.rint(gaussian_filter(others.astype(float), (0, 1, 1, 0))).astype(np.uint8)
    exact, fast = (
        frechet_distance(moments_of(extract(sharp)), moments_of(extract(blurred)))
        for extract in (Lite0(), Lite0(precision="bf16"))
    )
    assert abs(fast / exact - 1) < 0.01


def test_each_precision_has_a_version_of_its_own():
    """bf16 changed after statistics had been stored under version 1; float32 did not."""
    assert (Lite0().version, Lite0(precision="bf16").version) == (1, 2)


@pytest.mark.parametrize("size", [8, 28, 64, 300])
def test_every_size_gives_1280_features(size):
    assert Lite0()(_noise(1, size)).shape == (1, 1280)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_constant_images_have_finite_and_equal_features(level):
    features = Lite0()(np.full((3, 28, 28, 1), level, np.uint8))
    assert np.isfinite(features).all()
    assert np.allclose(features, features[:1], rtol=0, atol=1e-5 * features.max())


def test_images_that_are_not_uint8_are_refused():
    with pytest.raises(GanpipeError, match="takes images as uint8"):
        Lite0()(np.zeros((2, 28, 28, 3), np.float32))


def test_the_extractor_is_made_by_name():
    made = make_extractor("lite0", "bf16")
    assert (made.name, made.features, made.weights_sha256[:8]) == ("lite0bf16", 1280, "57934424")


def test_an_unknown_precision_is_refused():
    with pytest.raises(GanpipeError, match="precision=fp8 is none of float32, bf16"):
        make_extractor("lite0", "fp8")
