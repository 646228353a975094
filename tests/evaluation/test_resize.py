"""Resizing: TensorFlow 1's rule and Pillow's, each against somebody else's implementation."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate
from torch_fidelity.interpolate_compat_tensorflow import (
    interpolate_bilinear_2d_like_tensorflow1x,
)

from ganpipe.evaluation.extractors.resize import (
    pillow_bicubic,
    pillow_bilinear,
    resized,
    tensorflow1_bilinear,
)

SIZES = [(28, 28), (32, 32), (64, 64), (299, 299), (20, 31), (400, 350)]
GREY_LEVEL = 255 * 1e-5


def _noise(height, width, channels):
    values = np.random.default_rng(height).integers(0, 256, (2, height, width, channels))
    return values.astype(np.float32)


def _by_definition(image, size):
    """TensorFlow 1's resize_bilinear of [H, W, C], float64, a pixel at a time along each axis."""

    def along_first(values):
        inputs, rows = len(values), []
        for number in range(size):
            place = number * inputs / size
            lower = int(np.floor(place))
            upper = min(lower + 1, inputs - 1)
            rows.append(values[lower] + (values[upper] - values[lower]) * (place - lower))
        return np.stack(rows)

    high = along_first(image.astype(np.float64))
    return along_first(high.swapaxes(0, 1)).swapaxes(0, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tensorflow1_bilinear_is_its_definition(height, width, channels):
    images = _noise(height, width, channels)
    got = resized(torch.from_numpy(images), tensorflow1_bilinear, 299).permute(0, 2, 3, 1).numpy()
    for image, large in zip(images, got, strict=True):
        # TensorFlow holds the place of an output in float32, whose step grows with the image
        tolerance = max(GREY_LEVEL, 255 * 2.0**-23 * max(height, width))
        assert np.abs(large - _by_definition(image, 299)).max() < tolerance


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tensorflow1_bilinear_is_that_of_torch_fidelity(height, width):
    images = torch.from_numpy(_noise(height, width, 3))
    theirs = interpolate_bilinear_2d_like_tensorflow1x(
        images.permute(0, 3, 1, 2), size=(299, 299), align_corners=False
    )
    assert (resized(images, tensorflow1_bilinear, 299) - theirs).abs().max() < GREY_LEVEL


def test_two_pixels_become_four_without_the_half_pixel_shift():
    ramp = torch.tensor([0.0, 100.0])
    assert (tensorflow1_bilinear(2, 4) @ ramp).tolist() == [0.0, 50.0, 100.0, 100.0]
    assert (pillow_bilinear(2, 4) @ ramp).tolist() == [0.0, 25.0, 75.0, 100.0]


def test_the_rules_are_many_grey_levels_apart_on_small_images():
    """Whoever takes one for the other measures another thing: 28 pixels, smooth images."""
    small = torch.from_numpy(_noise(7, 7, 1))
    smooth = resized(small, pillow_bicubic, 28).clamp(0, 255).permute(0, 2, 3, 1)
    first = resized(smooth, tensorflow1_bilinear, 299)
    assert (first - resized(smooth, pillow_bilinear, 299)).abs().mean() > 5


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bicubic_is_that_of_pillow_on_each_channel(height, width):
    images = _noise(height, width, 3)
    got = resized(torch.from_numpy(images), pillow_bicubic, 299).numpy()
    for image, large in zip(images, got, strict=True):
        for channel in range(3):
            plane = Image.fromarray(np.ascontiguousarray(image[:, :, channel]))
            theirs = np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC))
            assert np.abs(large[channel] - theirs).max() < 10 * GREY_LEVEL


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bilinear_is_that_of_torch_with_antialias(height, width):
    images = torch.from_numpy(_noise(height, width, 3))
    theirs = interpolate(
        images.permute(0, 3, 1, 2), (224, 224), mode="bilinear", align_corners=False, antialias=True
    )
    assert (resized(images, pillow_bilinear, 224) - theirs).abs().max() < 10 * GREY_LEVEL


@pytest.mark.parametrize("rule", [tensorflow1_bilinear, pillow_bilinear, pillow_bicubic])
@pytest.mark.parametrize("inputs", [8, 28, 299, 1000])
def test_a_constant_image_stays_constant(rule, inputs):
    assert (rule(inputs, 299).sum(dim=1) - 1).abs().max() < 1e-5
