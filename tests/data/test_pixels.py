"""From files to pixels: the right part of the picture, the right way up, without aliasing."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganpipe.data import pixels
from ganpipe.data.decode import reduce_jpeg
from ganpipe.data.pixels import Shape, all_to_pixels, to_pixels
from tests.data.conftest import encoded, noise, png

BLUE = 200
EDGE = 2
"""Pixels at a border where the filter meets it."""


def slopes(width: int, height: int) -> np.ndarray:
    """A picture whose red says how far right, and whose green how far down, uint8 [h, w, 3]."""
    right, down = np.meshgrid(np.arange(width), np.arange(height))
    red, green = 255 * right / (width - 1), 255 * down / (height - 1)
    return np.rint(np.stack([red, green, np.full_like(red, BLUE)], axis=-1)).astype(np.uint8)


def where(found: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Which place of `slopes` each column and each row of a picture shows: float [w], [h]."""
    inner = found.astype(float)
    columns = inner[..., 0].mean(axis=0) * (width - 1) / 255
    rows = inner[..., 1].mean(axis=1) * (height - 1) / 255
    return columns[EDGE:-EDGE], rows[EDGE:-EDGE]


def centres(start: float, stop: float, count: int) -> np.ndarray:
    """Places of `count` pixels side by side that cover [start, stop), as numbers of pixels."""
    return (start + (np.arange(count) + 0.5) * (stop - start) / count - 0.5)[EDGE:-EDGE]


SIZES = [(60, 40), (40, 60), (48, 48), (91, 37)]
SHAPES = [(16, 16), (24, 12), (12, 24), (40, 60), (90, 90)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("resize", ["lanczos", "area", "bicubic"])
def test_center_shows_the_largest_centred_part_of_the_shape(
    size: tuple[int, int], shape: tuple[int, int], resize: str
) -> None:
    (width, height), (high, wide) = size, shape
    found = to_pixels(encoded(slopes(width, height)), Shape(high, wide, 3, "center", resize))
    assert found.shape == (high, wide, 3)
    scale = min(width / wide, height / high)
    used = scale * wide, scale * high  # as exact as if pixels could be cut
    columns, rows = where(found, width, height)
    left, top = (width - used[0]) / 2, (height - used[1]) / 2
    assert np.abs(columns - centres(left, left + used[0], wide)).max() < 1.6
    assert np.abs(rows - centres(top, top + used[1], high)).max() < 1.6
    assert np.abs(found[..., 2].astype(int) - BLUE).max() <= 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_none_shows_all_of_it_stretched(size: tuple[int, int], shape: tuple[int, int]) -> None:
    (width, height), (high, wide) = size, shape
    found = to_pixels(encoded(slopes(width, height)), Shape(high, wide, 3, "none"))
    assert found.shape == (high, wide, 3)
    columns, rows = where(found, width, height)
    assert np.abs(columns - centres(0, width, wide)).max() < 0.6
    assert np.abs(rows - centres(0, height, high)).max() < 0.6


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_letterbox_shows_all_of_it_in_shape_on_the_background(
    size: tuple[int, int], shape: tuple[int, int]
) -> None:
    (width, height), (high, wide) = size, shape
    shaped = Shape(high, wide, 3, "letterbox", background="#ff00ff")
    found = to_pixels(encoded(slopes(width, height)), shaped)
    assert found.shape == (high, wide, 3)
    paper = (found == (255, 0, 255)).all(axis=-1)
    rows, columns = np.flatnonzero(~paper.all(axis=1)), np.flatnonzero(~paper.all(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scale = min(wide / width, high / height)
    assert abs((right - left) - width * scale) <= 0.5
    assert abs((bottom - top) - height * scale) <= 0.5
    assert abs(left - (wide - right)) <= 1
    assert abs(top - (high - bottom)) <= 1
    part = found[top:bottom, left:right]
    assert not paper[top:bottom, left:right].any()
    columns, rows = where(part, width, height)
    assert np.abs(columns - centres(0, width, right - left)).max() < 0.6
    assert np.abs(rows - centres(0, height, bottom - top)).max() < 0.6


def test_a_picture_of_the_right_size_keeps_every_bit() -> None:
    picture = noise(1, 20, 12)
    for crop in ("center", "none", "letterbox"):
        assert np.array_equal(to_pixels(encoded(picture), Shape(12, 20, 3, crop)), picture)
    assert np.array_equal(to_pixels(encoded(picture), Shape(12, 12, 3)), picture[:, 4:16])
    assert np.array_equal(to_pixels(encoded(picture), Shape(8, 20, 3)), picture[2:10])


def test_extreme_shapes_keep_at_least_a_pixel() -> None:
    line = np.full((1, 300, 3), 7, np.uint8)
    for crop in ("center", "none", "letterbox"):
        for shape in (Shape(8, 8, 3, crop), Shape(16, 1, 3, crop), Shape(1, 16, 1, crop)):
            found = to_pixels(encoded(line), shape)
            assert found.shape == (shape.height, shape.width, shape.channels)
            assert (found == 7).any()


@pytest.mark.parametrize("resize", ["lanczos", "area", "bicubic"])
def test_resizing_is_antialiased(resize: str) -> None:
    """A fine checkerboard becomes grey; a resize that skips pixels would keep black and white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = to_pixels(encoded(board), Shape(8, 8, 1, resize=resize))
    assert np.abs(found.astype(int) - 127).max() <= 3


def test_area_is_the_mean_of_each_block() -> None:
    picture = noise(2, 48, 32)
    found = to_pixels(encoded(picture), Shape(8, 12, 3, resize="area"))
    means = picture.reshape(8, 4, 12, 4, 3).mean(axis=(1, 3))
    assert np.abs(found - means).max() <= 1


def test_filters_differ() -> None:
    made = [to_pixels(png(3, 40, 40), Shape(9, 9, 3, resize=name)) for name in pixels._FILTERS]
    assert all(not np.array_equal(a, b) for a, b in pairwise(made))


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
"""EXIF orientation -> what a camera held so stores of an upright picture."""


@pytest.mark.parametrize("held", TURNS)
@pytest.mark.parametrize("crop", ["center", "none", "letterbox"])
def test_pictures_taken_sideways_are_turned_before_they_are_cropped(held: int, crop: str) -> None:
    upright = slopes(60, 40)
    exif = Image.Exif()
    exif[0x0112] = held
    stored = np.ascontiguousarray(TURNS[held](upright))
    shape = Shape(20, 30, 3, crop) if crop == "none" else Shape(24, 16, 3, crop)
    found = to_pixels(encoded(stored, exif=exif), shape)
    assert np.array_equal(found, to_pixels(encoded(upright), shape))


def test_transparent_parts_show_the_background() -> None:
    layer = np.zeros((16, 16, 4), np.uint8)
    layer[:, 8:] = (10, 20, 30, 255)
    layer[:4, :8] = (200, 100, 0, 128)
    found = to_pixels(encoded(layer), Shape(16, 16, 3, background="#336699")).astype(int)
    assert (found[8:, :8] == (0x33, 0x66, 0x99)).all()
    assert (found[:, 8:] == (10, 20, 30)).all()
    half = np.array([200 + 0x33, 100 + 0x66, 0x99]) / 2
    assert np.abs(found[:4, :8] - half).max() <= 1
    grey = to_pixels(encoded(layer), Shape(16, 16, 1, background="#ffffff"))
    assert (grey[8:, :8] == 255).all()


def test_grey_is_the_brightness_of_colours() -> None:
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    found = to_pixels(encoded(red), Shape(8, 8, 1))
    assert found.shape == (8, 8, 1)
    assert np.abs(found.astype(int) - 0.299 * 255).max() <= 1
    level = np.full((8, 8), 77, np.uint8)
    assert (to_pixels(encoded(level), Shape(8, 8, 3)) == 77).all()


def photograph(seed: int, width: int, height: int) -> np.ndarray:
    """Light and shade at all scales, the finer the weaker, as in photographs: uint8 [h, w, 3]."""
    random = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for octave in range(1, 8):
        coarse = random.normal(size=(2**octave, 2**octave, 3)) * 60 / 1.7**octave
        layers = [
            Image.fromarray(coarse[..., k].astype(np.float32)).resize((width, height), 3)
            for k in range(3)
        ]
        total += np.stack([np.asarray(layer) for layer in layers], axis=-1)
    return np.clip(128 + total, 0, 255).astype(np.uint8)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.integers(0, 3),
    st.integers(150, 420),
    st.integers(150, 420),
    st.sampled_from(["center", "none", "letterbox"]),
    st.sampled_from(["lanczos", "area", "bicubic"]),
    st.sampled_from([(16, 16), (16, 32), (24, 10)]),
    st.sampled_from([1, 3, 6]),
)
def test_jpegs_decoded_at_reduced_scale_look_like_those_decoded_in_full(
    seed: int,
    width: int,
    height: int,
    crop: str,
    resize: str,
    size: tuple[int, int],
    held: int,
) -> None:
    """The bound that decode.reduce_jpeg states: 1 of 255 on average, 16 in any pixel."""
    exif = Image.Exif()
    exif[0x0112] = held
    jpeg = encoded(photograph(seed, width, height), "JPEG", quality=92, exif=exif)
    with Image.open(io.BytesIO(jpeg)) as image:
        full = encoded(image.convert("RGB"), exif=exif)
    shape = Shape(*size, 3, crop, resize)
    reduced, whole = (to_pixels(payload, shape).astype(int) for payload in (jpeg, full))
    assert np.abs(reduced - whole).mean() < 1
    assert np.abs(reduced - whole).max() <= 16


def test_large_jpegs_are_decoded_at_reduced_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the used part at the wanted size: a crop leaves less to reduce."""
    scales = []

    def watched(image: Image.Image, smallest: tuple[float, float]) -> int:
        scales.append(reduce_jpeg(image, smallest))
        return scales[-1]

    monkeypatch.setattr(pixels, "reduce_jpeg", watched)
    jpeg = encoded(photograph(0, 800, 200), "JPEG")
    to_pixels(jpeg, Shape(16, 16, 3))
    to_pixels(jpeg, Shape(16, 64, 3))
    to_pixels(jpeg, Shape(16, 16, 3, "none"))
    to_pixels(jpeg, Shape(150, 150, 3))
    assert scales == [4, 4, 4, 1]


def test_a_result_does_not_depend_on_its_neighbours() -> None:
    shape = Shape(9, 7, 3)
    payloads = [png(n, 10 + n, 30 - n) for n in range(12)]
    payloads.append(encoded(photograph(1, 200, 170), "JPEG"))
    alone = [to_pixels(payload, shape) for payload in payloads]
    together = all_to_pixels(payloads[::-1], shape)[::-1]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
