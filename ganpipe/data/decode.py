"""Image files to pixels: the one place that opens files somebody else made."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from ganpipe.data.colours import hides, split_alpha, to_srgb

# Raster formats that Pillow decodes itself, the usual ones first; EPS is left out since it runs an
# outside program. TGA has no mark of its own: it is tried when nothing else fits.
FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "AVIF",
    "BMP",
    "TIFF",
    "PPM",
    "JPEG2000",
    "ICO",
    "DIB",
    "PCX",
    "SGI",
    "TGA",
)
MOST_TEXT = 2**26  # bytes of one text in a PNG: generators keep their whole workflow there
MOST_SCANS = 200  # of a JPEG; programs write about ten
LEAST_RATIO = 3
"""A JPEG is reduced while decoding only to sides this many times those asked for."""

# whose first bytes hardly occur elsewhere, unlike the two letters of BMP or PPM
_MARKED_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "JPEG2000", "ICO")
_FRAMED_FORMATS = frozenset({"GIF", "WEBP", "PNG", "AVIF", "TIFF"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_TURNED_BY_READER = frozenset({"TIFF", "HEIF"})
# what is kept with an open image, in its `info`
_LIMIT, _HELD = "ganpipe_max_pixels", "ganpipe_orientation"
_ORIENTATION, _TILE_WIDTH, _TILE_LENGTH = 0x0112, 322, 323  # of EXIF and TIFF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class TooManyPixels(ValueError):  # noqa: N818 - says what is wrong with the image
    """The image, or a frame inside it, has more pixels than allowed."""


def open_image(payload: bytes, max_pixels: int) -> Image.Image:
    """An image file whose header was read; its pixels are not decoded yet.

    Raises TooManyPixels for more than max_pixels (decoding keeps to the same limit), and what
    Pillow raises for bytes that are no image.
    """
    _check_scans(payload)
    Image.init()  # a plugin that is not loaded yet is no known format
    with _guarded(max_pixels):
        if _is_heif(payload):
            image = _open_heif(payload)
        else:
            known = [name for name in FORMATS if name in Image.OPEN]
            image = Image.open(io.BytesIO(payload), formats=known)
        _check_size(image, max_pixels)
    if image.format == "PNG":
        _complete_png(image, payload)
    image.info[_LIMIT] = max_pixels
    image.info[_HELD] = _read_orientation(image)
    return image


def has_image_mark(payload: bytes) -> bool:
    """Whether the first bytes are those of an image file, be the rest damaged or missing."""
    Image.init()
    accepts = [Image.OPEN[name][1] for name in _MARKED_FORMATS if name in Image.OPEN]
    marked = any(accept is not None and accept(payload[:16]) for accept in accepts)
    return marked or _is_heif(payload)


def _check_scans(payload: bytes) -> None:
    """Each scan of a progressive JPEG costs a pass over the whole picture, for 23 bytes a scan."""
    if payload.startswith(b"\xff\xd8") and payload.count(b"\xff\xda") > MOST_SCANS:
        raise TooManyPixels(f"more than {MOST_SCANS} scans")


def is_animated(image: Image.Image) -> bool:
    """Whether a file that `open_image` opened has several frames or pages.

    The second view of a phone's photograph (MPO), thumbnails and depth maps (HEIF) and the sizes
    of an icon are none. Raises what Pillow raises when the second frame is damaged.
    """
    if image.format not in _FRAMED_FORMATS:
        return False
    if image.info.get("default_image"):  # APNG: the picture for programs that show no animation
        return int(getattr(image, "n_frames", 1)) > 2
    return bool(getattr(image, "is_animated", False))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height that `canonical` will give, in pixels, without decoding."""
    width, height = image.size
    return (height, width) if _orientation(image) > 4 else (width, height)


def reduce_jpeg(image: Image.Image, smallest: tuple[float, float]) -> int:
    """Let a JPEG that is not decoded yet be decoded at 1/8, 1/4 or 1/2; cheap, for downsizing.

    smallest: the upright width and height that the whole picture shall be resized to. The
    scale is the smallest that leaves both sides at least LEAST_RATIO times as long, where
    resizing from there with Lanczos changes a photograph by less than 1 of 255 on average and 20
    in any pixel (worst measured: 0.86 and 17; at twice the sides 1.2 on average).

    Returns what coordinates of the upright picture are to be divided by: 8, 4, 2 or 1. The last
    row or column may stand for less than a full one, so the reduced size is rounded up.
    """
    if image.format not in ("JPEG", "MPO") or not isinstance(image, ImageFile.ImageFile):
        return 1
    turn = _orientation(image)
    wanted = smallest[::-1] if turn > 4 else smallest
    for scale in (8, 4, 2):
        # turning puts a partial last row first, and the division would be off by that part
        whole = turn == 1 or all(side % scale == 0 for side in image.size)
        if whole and all(
            side >= scale * max(LEAST_RATIO * least, 1)
            for side, least in zip(image.size, wanted, strict=True)
        ):
            reached = image.draft(None, (image.width // scale, image.height // scale))
            return scale if reached else 1
    return 1


def canonical(image: Image.Image) -> Image.Image:
    """All pixels, upright, in sRGB with 8 bits: `RGB`, or `RGBA` where any is not opaque.

    What an embedded profile says is converted (perceptual intent); a broken one, and one for
    other channels, is ignored as viewers do. CMYK without profile is converted by the plain
    formula. Grey of more than 8 bits: black is 0 and white the format's largest value; 32-bit
    integers are taken for 8, 16 or 32 bits by their largest, and floats for 0..1 or, where any
    is beyond, for 0..255. Fully transparent pixels are (0, 0, 0, 0).

    May return `image` itself. Raises TooManyPixels when a frame inside is larger than its header
    said, and what Pillow raises, or ValueError, for damaged files.
    """
    limit, turn = image.info.get(_LIMIT), _TURNS.get(_orientation(image))
    size = upright_size(image)
    with _guarded(limit):
        image.load()
        _check_size(image, limit)
        picture, alpha = split_alpha(image)
        picture = to_srgb(picture, image.info.get("icc_profile"))
        if alpha is not None and hides(alpha, image.format):
            picture.putalpha(alpha)
            picture.paste((0, 0, 0, 0), mask=alpha.point([255] + [0] * 255))
        picture = picture if turn is None else picture.transpose(turn)
    if picture.size != size:
        raise ValueError(f"the header says {size} pixels, the picture has {picture.size}")
    return picture


def flatten(image: Image.Image, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """A canonical image over a background colour (sRGB) where it is transparent, `L` or `RGB`."""
    if image.mode == "RGBA":
        ground = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(ground, image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


@contextmanager
def _guarded(max_pixels: int | None) -> Iterator[None]:
    """Pillow's own limits set to ours, its warnings about odd files kept quiet."""
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        # Pillow warns at its limit and raises only at twice of it
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if max_pixels is not None:
                Image.MAX_IMAGE_PIXELS = max_pixels
            PngImagePlugin.MAX_TEXT_CHUNK = MOST_TEXT
            yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise TooManyPixels(str(error)) from error
        finally:
            Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = before


def _check_size(image: Image.Image, max_pixels: int | None) -> None:
    tags: Any = getattr(image, "tag_v2", {})  # of a TIFF, whose tiles may be larger than itself
    tile = tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1)
    for width, height in (image.size, tile):
        if max_pixels is not None and width * height > max_pixels:
            raise TooManyPixels(f"{width} x {height} pixels are more than {max_pixels}")


def _is_heif(payload: bytes) -> bool:
    """Whether the file says HEIF and not AVIF, which has the same container."""
    if payload[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(payload[:4], "big"), 256)
    brands = {payload[place : place + 4] for place in (8, *range(16, end, 4))}
    general = payload[8:12] in (b"mif1", b"msf1") and brands.isdisjoint({b"avif", b"avis"})
    return general or not brands.isdisjoint(_HEIF_BRANDS)


def _open_heif(payload: bytes) -> Image.Image:
    # used directly, not registered: Pillow stays as it is for everybody else
    from pi_heif import HeifImageFile

    try:
        _check_heif_items(payload)
        image: Image.Image = HeifImageFile(io.BytesIO(payload))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UnidentifiedImageError(str(error)) from error
    return image


def _check_heif_items(payload: bytes) -> None:
    """Raise UnicodeDecodeError for item types and names that are no UTF-8, as ISO 14496-12 wants:
    pi_heif 1.4.0 crashes on such a type."""
    end = payload.find(b"mdat")  # where the pictures begin, which may hold anything
    place = payload.find(b"infe", 0, end)
    while place >= 4:
        size = int.from_bytes(payload[place - 4 : place], "big")
        payload[place + 12 : place - 4 + size].decode()  # after version, flags and numbers
        place = payload.find(b"infe", place + 4, end)


def _complete_png(image: Image.Image, payload: bytes) -> None:
    """What Pillow leaves undone: the transparent grey or colour in 8 bits, as the pixels will be,
    and EXIF that follows the pixels, so that the upright size is known before they are decoded."""
    info, key = image.info, image.info.get("transparency")
    rawmode = getattr(image, "tile", [("", (), 0, "")])[0][3]
    if key is not None and rawmode in ("L;2", "L;4"):
        info["transparency"] = key * (85 if rawmode == "L;2" else 17)
    elif key is not None and rawmode == "RGB;16B":
        info["transparency"] = tuple(value >> 8 for value in key)
    place = -1 if "exif" in info else payload.find(b"eXIf")
    if place >= 4:
        end = place + 4 + int.from_bytes(payload[place - 4 : place], "big")
        if zlib.crc32(payload[place:end]) == int.from_bytes(payload[end : end + 4], "big"):
            info["exif"] = payload[place + 4 : end]


def _orientation(image: Image.Image) -> int:
    """How to turn what the reader gives, 1 to 8 as EXIF counts; 1 where the file does not say."""
    held = image.info.get(_HELD)
    return held if isinstance(held, int) else _read_orientation(image)


def _read_orientation(image: Image.Image) -> int:
    exif = image.info.get("exif")
    if image.format in _TURNED_BY_READER or not isinstance(exif, bytes):
        return 1
    tags = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            tags.load(exif)
            held = tags.get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow raises anything for damaged EXIF; viewers ignore it
        return 1
    return held if isinstance(held, int) and held in _TURNS else 1
