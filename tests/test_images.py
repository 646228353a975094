"""Pictures and the step from network output to bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from ganpipe import images


def test_quantisation_inverts_the_input_scaling_for_every_value():
    """A pixel that the network reproduces exactly comes back as the same byte, never inverted."""
    values = np.arange(256, dtype=np.float32) / 127.5 - 1.0
    assert images.to_uint8(values).tolist() == list(range(256))


def test_values_outside_the_range_are_clamped_not_wrapped():
    assert images.to_uint8(np.array([-9.0, 1.5, 300.0], np.float32)).tolist() == [0, 255, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_png_is_lossless(channels):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, channels), np.uint8)
    with Image.open(io.BytesIO(images.png_bytes(image))) as read:
        assert np.array_equal(np.asarray(read).reshape(image.shape), image)


def test_a_grid_holds_every_image_unchanged_but_enlarged():
    made = np.random.default_rng(0).integers(0, 255, (10, 8, 8, 1), np.uint8)
    sheet = images.grid(made)
    scale = next(s for s in range(1, 100) if sheet.shape[0] % s == 0 and s * 37 == sheet.shape[1])
    small = sheet[::scale, ::scale]
    assert np.array_equal(small[1:9, 1:9], made[0])
    assert np.array_equal(small[19:27, 10:18], made[9])
