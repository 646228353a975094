"""Whatever file comes, its colours are right or it is set aside, and nothing is left behind."""

from __future__ import annotations

import colorsys
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from sklearn.datasets import load_sample_images

from ganpipe.data.colours import is_grey
from ganpipe.data.decode import (
    LEAST_RATIO,
    TooManyPixels,
    canonical,
    flatten,
    has_image_mark,
    is_animated,
    open_image,
    reduce_jpeg,
    upright_size,
)
from ganpipe.data.examine import Limits, examine
from ganpipe.data.manifest import STATUSES
from tests.data import zoo

LIMIT = zoo.MAX_PIXELS
GOOD, BAD = list(zoo.good()), list(zoo.bad())


def named(specimens):
    return pytest.mark.parametrize("specimen", specimens, ids=[each.name for each in specimens])


def far(first, second):
    """Greatest difference of two images or colours, in levels of 8 bits."""
    return int(np.abs(np.asarray(first, dtype=int) - np.asarray(second, dtype=int)).max())


@named(GOOD)
@pytest.mark.filterwarnings("error")
def test_good_files_have_their_definitions_colours(specimen):
    with open_image(specimen.payload, LIMIT) as image:
        assert not is_animated(image)
        assert upright_size(image) == specimen.size
        picture = canonical(image)
    assert (picture.mode, picture.size) == (specimen.mode, specimen.size)
    for place, colour in specimen.colours.items():
        seen = picture.getpixel(place)
        assert len(seen) == len(colour)
        assert far(seen, colour) <= specimen.tolerance, (place, seen, colour)
    assert examine(specimen.payload, Limits(LIMIT, perceptual=True)).status == "ok"


@named(BAD)
@pytest.mark.filterwarnings("error")
def test_bad_files_are_set_aside_with_their_reason(specimen):
    status = examine(specimen.payload, Limits(LIMIT, perceptual=False)).status
    assert status in STATUSES
    assert status in (specimen.status, specimen.or_status)


def test_the_zoo_has_every_mode_and_names_each_specimen_once():
    modes, formats = set(), set()
    for specimen in GOOD:
        with open_image(specimen.payload, LIMIT) as image:
            modes.add(image.mode)
            formats.add(image.format)
    deep = {"I", "I;16", "I;16B", "F"}
    assert modes == {"1", "L", "LA", "La", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", *deep}
    assert formats >= {"JPEG", "MPO", "PNG", "WEBP", "GIF", "AVIF", "HEIF", "BMP", "TIFF", "PPM"}
    assert formats >= {"JPEG2000", "ICO", "DIB", "PCX", "SGI", "TGA"}
    names = [each.name for each in GOOD + BAD]
    assert len(names) == len(set(names))


@pytest.mark.filterwarnings("error")
def test_nothing_is_left_behind():
    """Neither good nor bad files change Pillow's limit, its formats or the warnings shown."""
    before = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    for specimen in GOOD + BAD:
        examine(specimen.payload, Limits(7_777, perceptual=False))
        assert before == (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    assert "HEIF" not in Image.OPEN


@pytest.mark.filterwarnings("error")
def test_files_are_decoded_to_the_same_pixels_each_time():
    for specimen in GOOD:
        first, second = (examine(specimen.payload, Limits(LIMIT, perceptual=False)) for _ in "ab")
        assert first == second


@pytest.mark.parametrize("kind", [*zoo.NOISY, "progressive JPEG", "interlaced PNG"])
def test_no_unfinished_file_passes_for_a_whole_one(kind):
    if kind == "progressive JPEG":
        whole = zoo.encode(zoo.noise(), "JPEG", progressive=True)
    elif kind == "interlaced PNG":
        whole = zoo.png(np.asarray(zoo.noise()), 8, 2, adam7=True)
    else:
        whole = zoo.encode(zoo.noise(), kind, **zoo.NOISY[kind])
    assert examine(whole, Limits(LIMIT, perceptual=False)).status == "ok"
    # TIFF keeps its directory at the end; cutting nearer to any end removes what no pixel needs
    for length in np.linspace(0, 0.97 * len(whole), 41).astype(int):
        facts = examine(whole[:length], Limits(LIMIT, perceptual=False))
        assert facts.status in ("truncated", "not-an-image"), length


def test_the_limit_of_pixels_is_exact():
    payload = zoo.encode(Image.new("L", (100, 10)), "PNG")
    assert canonical(open_image(payload, 1000)).size == (100, 10)
    with pytest.raises(TooManyPixels, match="1000"):
        open_image(payload, 999)


def test_the_limit_is_ours_also_above_pillows_own():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zoo.chunk(b"IHDR", header) + zoo.chunk(b"IDAT", zlib.compress(b""))
    payload = b"\x89PNG\r\n\x1a\n" + rows
    assert Image.MAX_IMAGE_PIXELS < 30_000**2 // 2
    assert open_image(payload, 30_000**2).size == (30_000, 30_000)
    with pytest.raises(TooManyPixels):
        open_image(payload, 30_000**2 - 1)


def test_a_file_that_is_no_image_raises_what_pillow_raises():
    with pytest.raises(Image.UnidentifiedImageError):
        open_image(b"Dear colleague", LIMIT)
    with pytest.raises(Image.UnidentifiedImageError):
        open_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", LIMIT)


def test_damaged_images_are_told_from_other_files_by_their_first_bytes():
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "JPEG2000", "ICO"):
        assert has_image_mark(zoo.encode(zoo.noise(), kind)[:40]), kind
    assert has_image_mark(zoo.heif("two")[:40])
    foreign = [each for each in BAD if each.status == "not-an-image" and not each.or_status]
    assert len(foreign) > 10
    assert [each.name for each in foreign if has_image_mark(each.payload)] == []


def test_plain_pictures_are_not_copied():
    for kind in ("JPEG", "PNG"):
        image = open_image(zoo.encode(zoo.picture(), kind), LIMIT)
        assert canonical(image) is image


SHADES = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBX", "RGBA", "RGBa", "HSV", "YCbCr"])
def test_colour_models_in_memory_follow_their_definitions(mode):
    if mode == "HSV":
        expected = [colorsys.hsv_to_rgb(*(pixel / 255)) for pixel in SHADES.reshape(-1, 3)]
        expected = np.rint(np.array(expected).reshape(32, 32, 3) * 255)
        image, tolerance = Image.fromarray(SHADES, "HSV"), 4
    elif mode == "YCbCr":
        ycc = [zoo.to_ycc(tuple(int(value) for value in pixel)) for pixel in SHADES.reshape(-1, 3)]
        pixels = np.array(ycc, np.uint8).reshape(32, 32, 3)
        image, expected, tolerance = Image.fromarray(pixels, "YCbCr"), SHADES, 2
    else:
        full = np.concatenate([SHADES, np.full((32, 32, 1), 255, np.uint8)], axis=2)
        pixels = SHADES if mode == "RGB" else full
        image, expected, tolerance = Image.fromarray(pixels, mode), SHADES, 0
    picture = canonical(image)
    assert picture.mode == "RGB"
    assert far(picture, expected) <= tolerance


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N", "I"])
def test_deep_greys_in_memory_are_scaled(mode):
    values = np.arange(256).repeat(4).reshape(32, 32) * 257
    order = ">" if mode == "I;16B" else "<"
    data = values.astype(f"{order}{'i4' if mode == 'I' else 'u2'}").tobytes()
    picture = canonical(Image.frombytes(mode, (32, 32), data))
    assert is_grey(mode)
    assert far(picture, (values // 257)[..., None].repeat(3, axis=2)) == 0


def test_premultiplied_grey_in_memory_is_divided_again():
    image = Image.frombytes("La", (2, 1), bytes([50, 128, 0, 0]))
    first, second = (canonical(image).getpixel((x, 0)) for x in (0, 1))
    assert far(first, (100, 100, 100, 128)) <= 1
    assert second == (0, 0, 0, 0)


def test_colours_that_nobody_sees_do_not_count():
    hidden = np.dstack([SHADES, np.where(np.indices((32, 32))[0] < 9, 0, 200)]).astype(np.uint8)
    other = hidden.copy()
    other[:9, :, :3] = 77
    first, second = (canonical(Image.fromarray(pixels)) for pixels in (hidden, other))
    assert first.tobytes() == second.tobytes()
    assert first.getpixel((0, 20)) == tuple(hidden[20, 0])
    opaque = hidden.copy()
    opaque[..., 3] = 255
    assert canonical(Image.fromarray(opaque)).tobytes() == SHADES.tobytes()


def test_wide_gamut_agrees_with_littlecms_and_with_the_definition():
    picture = canonical(open_image(zoo.encode(SHADES, "PNG", icc_profile=zoo.WIDE), LIMIT))
    source, target = ImageCms.ImageCmsProfile(io.BytesIO(zoo.WIDE)), ImageCms.createProfile("sRGB")
    theirs = ImageCms.profileToProfile(Image.fromarray(SHADES), source, target, outputMode="RGB")
    assert far(picture, theirs) == 0
    defined = [zoo.from_wide(tuple(int(v) for v in pixel)) for pixel in SHADES.reshape(-1, 3)]
    assert far(picture, np.array(defined).reshape(32, 32, 3)) <= 2
    assert far(picture, SHADES) > 20


def test_the_srgb_profile_changes_nothing_and_what_only_resembles_it_does():
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = open_image(zoo.encode(SHADES, "PNG", icc_profile=own), LIMIT)
    assert canonical(same) is same
    assert far(same, SHADES) == 0
    dark = (SHADES // 8).astype(np.uint8)
    near = canonical(open_image(zoo.encode(dark, "PNG", icc_profile=zoo.NEARLY_SRGB), LIMIT))
    assert far(near, zoo.srgb((dark / 255) ** zoo.WIDE_GAMMA)) <= 2
    assert far(near, dark) > 5


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 200, 90)])
def test_transparent_pictures_are_laid_over_the_background(background):
    alpha = np.random.default_rng(2).integers(0, 256, (32, 32, 1), np.uint8)
    image = canonical(Image.fromarray(np.concatenate([SHADES, alpha], axis=2)))
    part = alpha / 255
    expected = SHADES * part + np.array(background) * (1 - part)
    flat = flatten(image, "RGB", background)
    assert flat.mode == "RGB"
    assert far(flat, np.rint(expected)) <= 1
    luma = expected @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    grey = flatten(image, "L", background)
    assert grey.mode == "L"
    assert far(grey, np.rint(luma)) <= 1


def test_grey_stays_the_same_grey():
    greys = np.arange(256, dtype=np.uint8).reshape(16, 16)
    flat = flatten(canonical(Image.fromarray(greys)), "L", (255, 255, 255))
    assert far(flat, greys) == 0


def _photographs():
    """Crops of scikit-learn's two textured photographs."""
    for pixels in load_sample_images().images:
        for left, top, right, bottom in [(0, 0, 640, 427), (100, 50, 517, 371), (13, 7, 400, 300)]:
            yield Image.fromarray(pixels[top:bottom, left:right])


def _both_ways(payload, side):
    """Centre crop to side x side with Lanczos: of the full picture, of the reduced one; scale."""
    results = []
    scale = 1
    for reduced in (False, True):
        image = open_image(payload, LIMIT)
        width, height = upright_size(image)
        edge = min(width, height)
        left, top = (width - edge) // 2, (height - edge) // 2
        if reduced:
            scale = reduce_jpeg(image, (side * width / edge, side * height / edge))
        box = tuple(value / scale for value in (left, top, left + edge, top + edge))
        results.append(canonical(image).resize((side, side), Image.Resampling.LANCZOS, box=box))
    return *(np.asarray(each, dtype=int) for each in results), scale


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize(("mode", "subsampling"), [("L", 0), ("RGB", 0), ("RGB", 1), ("RGB", 2)])
def test_decoding_at_reduced_scale_stays_within_its_bound(quality, mode, subsampling):
    """The bound that reduce_jpeg states: below 1 of 255 on average, 20 in any pixel."""
    scales = set()
    for photograph in _photographs():
        how = {"quality": quality, "subsampling": subsampling}
        payload = zoo.encode(photograph.convert(mode), "JPEG", **how)
        for side in (16, 32, 48):
            full, reduced, scale = _both_ways(payload, side)
            scales.add(scale)
            assert np.abs(full - reduced).mean() < 1
            assert np.abs(full - reduced).max() < 20
            assert scale > 1 or np.array_equal(full, reduced)
    assert {2, 4, 8} <= scales


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(640, 424), (637, 421)])
def test_reduced_pictures_are_not_shifted_when_they_are_turned(orientation, size):
    """Sides that the scale does not divide would shift a turned picture by a part of a pixel."""
    photograph = next(_photographs()).crop((0, 0, *size))
    payload = zoo.encode(photograph, "JPEG", quality=90, exif=zoo.held(orientation))
    full, reduced, scale = _both_ways(payload, 32)
    assert np.abs(full - reduced).mean() < 1
    assert np.abs(full - reduced).max() < 20
    assert (scale > 1) == (orientation == 1 or size == (640, 424))


@pytest.mark.parametrize(
    ("size", "smallest", "scale"),
    [
        ((640, 480), (26, 20), 8),
        ((640, 480), (27, 20), 4),
        ((640, 480), (26, 21), 4),
        ((640, 480), (53, 40), 4),
        ((640, 480), (106, 80), 2),
        ((640, 480), (107, 80), 1),
        ((640, 480), (1000, 1000), 1),
        ((7, 5), (0.2, 0.2), 4),
        ((15, 11), (1, 1), 2),
    ],
)
def test_the_smallest_scale_that_leaves_enough_is_taken(size, smallest, scale):
    image = open_image(zoo.encode(Image.new("RGB", size), "JPEG"), LIMIT)
    assert reduce_jpeg(image, smallest) == scale
    picture = canonical(image)
    assert picture.size == tuple(-(-side // scale) for side in size)
    if scale > 1:
        assert all(side >= LEAST_RATIO * least for side, least in zip(size, smallest, strict=True))


def test_only_a_jpeg_that_is_not_decoded_yet_is_reduced():
    big = Image.new("RGB", (640, 480))
    other = open_image(zoo.encode(big, "PNG"), LIMIT)
    assert reduce_jpeg(other, (10, 10)) == 1
    loaded = open_image(zoo.encode(big, "JPEG"), LIMIT)
    loaded.load()
    assert reduce_jpeg(loaded, (10, 10)) == 1
    phone = open_image(zoo.encode(big, "MPO", save_all=True, append_images=[big]), LIMIT)
    assert phone.format == "MPO"
    assert reduce_jpeg(phone, (10, 10)) == 8
    assert canonical(phone).size == (80, 60)


def test_a_heif_whose_item_has_no_name_is_set_aside():
    """pi_heif 1.4.0 ends the process for it."""
    whole = bytearray(zoo.heif("phone"))
    start = whole.index(b"Exif")
    whole[start] = 0xFF
    facts = examine(bytes(whole), Limits(LIMIT, perceptual=False))
    assert facts.status in ("not-an-image", "truncated")


def test_a_jpeg_of_hundreds_of_scans_is_not_decoded():
    """Each costs a pass over the picture for 23 bytes: a small file would take hours."""
    out = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(out, "JPEG", progressive=True)
    payload = out.getvalue()
    limits = Limits(LIMIT, perceptual=False)
    assert examine(payload, limits).status == "ok"
    last = payload.rindex(b"\xff\xda")
    bomb = payload[:last] + payload[last:-2] * 300 + payload[-2:]
    assert examine(bomb, limits).status == "too-large"


def test_a_png_that_carries_megabytes_of_text_is_a_picture_like_others():
    about = PngImagePlugin.PngInfo()
    about.add_text("workflow", "node " * 600_000, zip=True)
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=about)
    assert examine(out.getvalue(), Limits(LIMIT, perceptual=False)).status == "ok"
