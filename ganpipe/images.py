"""Pictures that people look at: grids and PNG files of uint8 images."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganpipe.files import replacing

if TYPE_CHECKING:
    from PIL import Image

GRID_PIXELS = 640  # small images are enlarged by a whole factor up to about this grid width
CACHED = 2**19  # bytes that are worked on at once, so that they stay in a core's cache


def to_pil(image: NDArray[np.uint8]) -> Image.Image:
    """One uint8 image [H, W, C] with C = 1 or 3 as a PIL image."""
    from PIL import Image

    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)


def grid(images: NDArray[np.uint8], columns: int = 0) -> NDArray[np.uint8]:
    """Lay uint8 images [n, H, W, C] in rows on white, near a square unless `columns` is given."""
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    gap = max(1, height // 16)
    step_y, step_x = height + gap, width + gap
    sheet = np.full((rows * step_y + gap, columns * step_x + gap, channels), 255, np.uint8)
    for number, image in enumerate(images):
        y, x = gap + number // columns * step_y, gap + number % columns * step_x
        sheet[y : y + height, x : x + width] = image
    scale = max(1, GRID_PIXELS // sheet.shape[1])
    return sheet.repeat(scale, axis=0).repeat(scale, axis=1)


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """Lossless PNG of a uint8 image [H, W, C]: the same image gives the same bytes."""
    out = io.BytesIO()
    to_pil(image).save(out, format="PNG", optimize=False, compress_level=6)
    return out.getvalue()


def write_png(path: Path | str, image: NDArray[np.uint8]) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as beside:
        beside.write_bytes(png_bytes(image))


def to_uint8(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Network output in [-1, 1] (clamped) to uint8: round(x * 127.5 + 127.5)."""
    levels = np.empty(values.shape, np.uint8)
    step = max(1, CACHED // max(1, values[:1].nbytes))
    for start in range(0, len(values), step):
        block = values[start : start + step] * np.float32(127.5)
        block += np.float32(127.5)
        np.rint(block, out=block)
        np.clip(block, 0, 255, out=block)
        levels[start : start + step] = block
    return levels
