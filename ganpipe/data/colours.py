"""Whatever a file's pixels mean, as sRGB with 8 bits."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

# one value a pixel, and what may hide some of them
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_PHOTOMETRIC, _BITS_PER_SAMPLE, _SAMPLE_FORMAT = 262, 258, 339  # of TIFF


def is_grey(mode: str) -> bool:
    """Whether images of this Pillow mode have no colours."""
    return mode in GREY_MODES


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The picture as L, RGB, CMYK or LAB in 8 bits, and how opaque it is where the file tells."""
    if image.mode in _DEEP_MODES:
        return _eight_bits(image)
    if image.has_transparency_data:
        grey = image.mode in GREY_MODES
        layer = image.convert("LA" if grey else "RGBA")
        return layer.convert("L" if grey else "RGB"), layer.getchannel("A")
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        return ImageChops.invert(image), None  # only Adobe writes ink upside down; Pillow turns all
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Values of more than 8 bits scaled to grey, and the transparent one of a PNG as alpha."""
    raw = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})  # of a TIFF
    if image.mode == "I" and tags.get(_SAMPLE_FORMAT) == (1,):  # unsigned
        raw = raw.view(np.uint32)
    values = raw.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(low + high):
        raise ValueError("a pixel is not a number")
    if image.mode == "F":
        white = 1.0 if low >= 0 and high <= 1 else 255.0
    elif image.mode != "I" or image.format == "PPM":
        white = 4095.0 if tags.get(_BITS_PER_SAMPLE) == (12,) else 65535.0
    else:
        deepest = 2.0**32 if raw.dtype == np.uint32 else 2.0**31
        white = next(most for most in (255.0, 65535.0, deepest) if high <= most)
    values *= np.float32(255)
    values /= np.float32(white)
    np.clip(np.rint(values, out=values), 0, 255, out=values)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        np.subtract(np.float32(255), values, out=values)
    key = image.info.get("transparency")
    alpha = (
        Image.fromarray(np.where(raw == key, 0, 255).astype(np.uint8)) if key is not None else None
    )
    return Image.fromarray(values.astype(np.uint8)), alpha


def hides(alpha: Image.Image, format_name: str | None) -> bool:
    """Whether any pixel is not opaque. A TGA that is transparent all over has no alpha at all:
    programs that have none leave the fourth byte 0."""
    extremes = alpha.getextrema()
    return extremes != (255, 255) and not (format_name == "TGA" and extremes == (0, 0))


def to_srgb(picture: Image.Image, profile: Any) -> Image.Image:
    """L, RGB, CMYK or LAB as RGB in sRGB, by the ICC profile where there is a sound one."""
    transform = None
    if isinstance(profile, bytes) and profile:
        transform = _transform(profile, picture.mode)
    if transform is None and picture.mode == "LAB":
        transform = _transform(b"", "LAB")
    if transform is not None:
        from PIL import ImageCms

        picture = ImageCms.applyTransform(picture, transform) or picture
    return picture if picture.mode == "RGB" else picture.convert("RGB")


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """From an ICC profile's colours to sRGB; none where it is broken, for other channels, or sRGB.

    Kept for the next image: building one takes longer than decoding a small JPEG.
    """
    from PIL import ImageCms

    space = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK", "LAB": "Lab "}[mode]
    try:
        source = (
            ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if profile
            else ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        )
        if source.profile.xcolor_space != space:
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.PERCEPTUAL,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if mode in ("L", "RGB") and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCmsTransform, mode: str) -> bool:
    """Whether colours all over the cube stay where they are, but for rounding."""
    from PIL import ImageCms

    steps = np.linspace(0, 255, 16 if mode == "RGB" else 256).astype(np.uint8)
    axes = np.meshgrid(*[steps] * len(mode), indexing="ij")
    probe = np.stack(axes, axis=-1).reshape(16, -1, len(mode)).squeeze()
    seen = ImageCms.applyTransform(Image.fromarray(probe), transform)
    expected = probe if mode == "RGB" else np.stack([probe] * 3, axis=-1)
    return bool(np.abs(np.asarray(seen, dtype=np.int16) - expected).max() <= 1)
