"""Inception-v3: the same features as torch-fidelity reads from PNG files, with made-up weights."""

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torch_fidelity.datasets import ImagesPathDataset
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.extractors.batches import in_batches
from ganpipe.evaluation.extractors.inception import PUBLISHED, Inception
from ganpipe.evaluation.extractors.weights import Published
from ganpipe.images import write_png

AGREE = 1e-4


class _Unloaded(FeatureExtractorInceptionV3):
    def load_state_dict(self, *_):
        """Keep the layers as they were made."""


def _empty():
    file = io.BytesIO()
    torch.save({}, file)
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights that keep the size of activations through the layers: a path and its description."""
    torch.manual_seed(0)
    state = _Unloaded("inception", ["2048"], feature_extractor_weights_path=_empty()).state_dict()
    for name, value in state.items():
        if name.endswith("conv.weight"):
            value.normal_(std=(2 / value[0].numel()) ** 0.5)
        elif name.endswith(("bn.weight", "running_var")):
            value.uniform_(0.5, 1.5)
        elif name.endswith(("bn.bias", "running_mean")):
            value.normal_(std=0.1)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return path, Published("inception.pth", "http://127.0.0.1:9/", digest, len(content))


@pytest.fixture(scope="module")
def inception(weights):
    return Inception(path=weights[0], published=weights[1])


@pytest.fixture(scope="module")
def reference(weights):
    """torch-fidelity's extractor: uint8 [n, 3, H, W] to float32 [n, 2048]."""
    network = FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(weights[0])
    )
    return lambda pixels: network(pixels)[0].numpy()


def _smooth(count, height, width, channels):
    """Pictures with shapes in them: uint8 [count, height, width, channels]."""
    coarse = np.random.default_rng(height).normal(size=(count, channels, 6, 6))
    fine = interpolate(torch.from_numpy(coarse), (height, width), mode="bicubic")
    return (fine * 80 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _difference(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


def _nchw(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (64, 64), (299, 299), (20, 350)])
def test_features_are_those_of_torch_fidelity_from_png_files(
    inception, reference, tmp_path, height, width, channels
):
    images = _smooth(2, height, width, channels)
    paths = [tmp_path / f"{number}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        write_png(path, image)
    theirs = ImagesPathDataset([str(path) for path in paths])
    expected = reference(torch.stack([theirs[number] for number in range(len(paths))]))
    assert _difference(inception(images), expected) < AGREE


def _inverted(images):
    """What (x * 255).byte() does to pixels that are already uint8."""
    return (torch.from_numpy(images) * 255).numpy()


def _through_jpeg(images):
    files = [io.BytesIO() for _ in images]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file, "JPEG", quality=95)
    return np.stack([np.asarray(Image.open(file)) for file in files])


def _half_pixel_shift(images):
    large = interpolate(_nchw(images).float(), (299, 299), mode="bilinear", align_corners=False)
    return large.round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("spoilt", [_inverted, _through_jpeg, _half_pixel_shift])
def test_the_known_traps_break_the_agreement(inception, reference, spoilt):
    """Each is far above the tolerance of the test above, which therefore sees them all."""
    images = _smooth(2, 32, 32, 3)
    assert _difference(inception(spoilt(images)), reference(_nchw(images))) > 10 * AGREE


@pytest.mark.parametrize("values", [np.float32(0.5), np.int64(128)])
def test_images_that_are_not_uint8_are_refused(inception, values):
    with pytest.raises(GanpipeError, match="takes images as uint8"):
        inception(np.full((2, 28, 28, 3), values))


@pytest.mark.parametrize("shape", [(28, 28, 3), (2, 3, 28, 28), (2, 28, 28, 4)])
def test_arrays_of_another_shape_are_refused(inception, shape):
    with pytest.raises(GanpipeError, match="height, width, 1 or 3"):
        inception(np.zeros(shape, np.uint8))


def test_the_batch_never_changes_a_feature(weights):
    images = _smooth(5, 28, 28, 1)
    one, some, all_ = (Inception("inception", "float32", *weights, n)(images) for n in (1, 2, 5))
    assert _difference(some, one) <= 1e-5
    assert _difference(all_, one) <= 1e-5


def test_the_fast_mode_has_a_name_of_its_own_and_a_small_error(inception, weights):
    images = _smooth(6, 28, 28, 1)
    fast = Inception("inception", "bf16", *weights)
    assert (inception.name, fast.name) == ("inception", "inceptionbf16")
    exact = inception(images)
    assert 0 < np.linalg.norm(fast(images) - exact) / np.linalg.norm(exact) < 0.03


def test_clean_differs_by_its_resize_alone(weights, reference):
    clean = Inception("inception-clean", "float32", *weights)
    images = _smooth(2, 40, 40, 3)
    planes = [
        [
            Image.fromarray(np.ascontiguousarray(image[:, :, channel]).astype(np.float32)).resize(
                (299, 299), Image.Resampling.BICUBIC
            )
            for channel in range(3)
        ]
        for image in images
    ]
    large = torch.from_numpy(
        np.clip(np.array([list(map(np.asarray, row)) for row in planes]), 0, 255)
    )
    prepared = clean._prepare(torch.from_numpy(images))
    assert (prepared * 128 + 128 - large).abs().max() < 0.02
    assert clean.name == "inception-clean"
    assert _difference(clean(images), reference(_nchw(images))) > 10 * AGREE


def test_constant_images_have_finite_features_of_their_own(inception):
    black, white = np.zeros((2, 28, 28, 1), np.uint8), np.full((1, 28, 28, 1), 255, np.uint8)
    features = inception(np.concatenate([black, white]))
    assert np.array_equal(features[0], features[1])
    assert not np.array_equal(features[0], features[2])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_not_finite_are_told_rather_than_measured(value):
    def network(pixels):
        return torch.where(pixels[:, 0, 0] > 0, value, 0.0)

    images = np.array([0, 9, 9], np.uint8).reshape(3, 1, 1, 1)
    with pytest.raises(GanpipeError, match="damaged gave NaN or infinite features for 2 of 3"):
        in_batches(network, images, batch=2, features=1, name="damaged")


def test_no_images_give_no_features(inception):
    assert inception(np.zeros((0, 28, 28, 1), np.uint8)).shape == (0, 2048)


def test_the_published_file_is_the_one_its_name_says():
    """Files of torch.hub carry the first digits of their sha256."""
    assert PUBLISHED.name == f"weights-inception-2015-12-05-{PUBLISHED.sha256[:8]}.pth"
