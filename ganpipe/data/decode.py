"""Image files to pixels: the one place that opens files somebody else made."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps

# raster formats that Pillow decodes itself; EPS is left out since it runs an outside program
FORMATS = (
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PCX",
    "PNG",
    "PPM",
    "SGI",
    "TGA",
    "TIFF",
    "WEBP",
)
GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"}
_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I")
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "La", "RGBa")


def open_image(payload: bytes) -> Image.Image:
    """An image file whose header was read. Raises what Pillow raises for other bytes."""
    Image.init()  # a plugin that is not loaded yet is no known format
    known = [name for name in FORMATS if name in Image.OPEN]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        return Image.open(io.BytesIO(payload), formats=known)


def upright(image: Image.Image, mode: str) -> Image.Image:
    """All pixels, turned as the camera says, in `L` or `RGB`, over white where transparent.

    16-bit values are scaled to 8 bits. Raises what Pillow raises for damaged files.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        turned = ImageOps.exif_transpose(image)
        if turned.mode in _WIDE_MODES:
            wide = np.asarray(turned, dtype=np.float64) / 257.0
            turned = Image.fromarray(np.clip(np.rint(wide), 0, 255).astype(np.uint8))
        if turned.mode in _TRANSPARENT_MODES or "transparency" in turned.info:
            layer = turned.convert("RGBA")
            turned = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        if turned.mode == "LAB":
            turned = _from_lab(turned)
        return turned.convert(mode)


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    if converted is None:
        raise ValueError("no conversion from LAB to sRGB")
    return converted
