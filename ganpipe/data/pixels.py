"""From an image file to pixels of the wanted shape: a pure function of the file's bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from ganpipe.data.decode import canonical, flatten, open_image, reduce_jpeg, upright_size

_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
}


@dataclass(frozen=True)
class Shape:
    """What every image of a data set is brought to."""

    height: int
    """Pixels."""
    width: int
    channels: int
    """1 (grey) or 3 (RGB)."""
    crop: str = "center"
    """center, none or letterbox; see params.DataParams."""
    resize: str = "lanczos"
    """lanczos, area or bicubic."""
    background: str = "#ffffff"
    max_pixels: int = 2**31

    @property
    def mode(self) -> str:
        return "L" if self.channels == 1 else "RGB"


def to_pixels(payload: bytes, shape: Shape) -> NDArray[np.uint8]:
    """Decode an image file to uint8 [height, width, channels].

    Antialiased, and decided by this image alone. JPEG is decoded at a reduced scale where that
    changes little (see decode.reduce_jpeg).
    """
    with open_image(payload, shape.max_pixels) as image:
        width, height = upright_size(image)
        box = _crop_box(width, height, shape)
        wide, high = box[2] - box[0], box[3] - box[1]
        # as if all of the image were wanted at the scale that the used part gets
        by = reduce_jpeg(image, (shape.width * width / wide, shape.height * height / high))
        flat = flatten(canonical(image), shape.mode, ImageColor.getrgb(shape.background)[:3])
    box = (box[0] / by, box[1] / by, box[2] / by, box[3] / by)
    if shape.crop == "letterbox":
        flat = _letterboxed(flat, box, shape)
    else:
        flat = flat.resize((shape.width, shape.height), _FILTERS[shape.resize], box=box)
    return np.asarray(flat, dtype=np.uint8).reshape(shape.height, shape.width, shape.channels)


def all_to_pixels(payloads: list[bytes], shape: Shape) -> list[NDArray[np.uint8]]:
    """`to_pixels` for several files, in their order."""
    return [to_pixels(payload, shape) for payload in payloads]


def _crop_box(width: int, height: int, shape: Shape) -> tuple[float, float, float, float]:
    """What of an upright image is used: left, top, right, bottom in whole pixels."""
    if shape.crop != "center":
        return (0, 0, width, height)
    wide = max(1, min(width, round(height * shape.width / shape.height)))
    high = max(1, min(height, round(width * shape.height / shape.width)))
    left, top = (width - wide) // 2, (height - high) // 2
    return (left, top, left + wide, top + high)


def _letterboxed(
    image: Image.Image, box: tuple[float, float, float, float], shape: Shape
) -> Image.Image:
    wide, high = box[2] - box[0], box[3] - box[1]
    scale = min(shape.width / wide, shape.height / high)
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    paper = Image.new("RGB", (shape.width, shape.height), shape.background).convert(shape.mode)
    place = ((shape.width - size[0]) // 2, (shape.height - size[1]) // 2)
    paper.paste(image.resize(size, _FILTERS[shape.resize], box=box), place)
    return paper
