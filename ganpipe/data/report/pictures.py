"""Small pictures that a page carries in itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.images import grid, to_pil

if TYPE_CHECKING:
    from PIL import Image

    from ganpipe.data.dataset import Dataset

SIDES = (128, 96, 64, 48, 32)  # pixels of the longer side: the largest that fits the page
LOSSLESS_SIDE = 32  # smaller pictures are enlarged on the page, where artefacts would show
GRID_IMAGES = 64


def draw(numbers: NDArray[np.int64], count: int, purpose: str) -> NDArray[np.int64]:
    """At most `count` of some image numbers [n] at random, the same ones each time."""
    return numbers[randomness.permutation(0, f"data report {purpose}", 0, len(numbers))[:count]]


def thumbnails(dataset: Dataset, numbers: Iterable[int]) -> list[Image.Image]:
    """Images of a data set, shrunk to SIDES[0] pixels; one at a time, for they may be large."""
    return [shrunk(to_pil(dataset.batch(np.array([number]))[0]), SIDES[0]) for number in numbers]


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """A copy whose longer side has at most `side` pixels."""
    from PIL import Image

    copy = picture.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def sample_grid(dataset: Dataset) -> NDArray[np.uint8]:
    """Random images of a data set in rows: uint8 [H, W, channels]."""
    numbers = draw(np.arange(len(dataset)), GRID_IMAGES, "")
    pictures = [np.asarray(picture) for picture in thumbnails(dataset, numbers.tolist())]
    images = np.stack(pictures)
    return grid(images.reshape(*images.shape[:3], dataset.channels))


def data_uris(pictures: Sequence[Image.Image], budget: int) -> list[str]:
    """Pictures as data URIs (WebP) in the largest of SIDES in which they fit.

    The smallest is used even if they do not: `budget`, in characters, has room for noise there.
    """
    uris: list[str] = []
    for side in SIDES:
        uris = [_data_uri(shrunk(picture, side)) for picture in pictures]
        if sum(map(len, uris)) <= budget:
            break
    return uris


def _data_uri(picture: Image.Image) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp(picture)).decode()}"


def webp(picture: Image.Image) -> bytes:
    """A small picture as WebP; very small ones keep every pixel."""
    lossless = max(picture.size) <= LOSSLESS_SIDE
    options: dict[str, Any] = {"lossless": True} if lossless else {"quality": 82}
    out = io.BytesIO()
    picture.save(out, "WEBP", **options)
    return out.getvalue()
