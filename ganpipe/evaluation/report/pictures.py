"""Images on the page: data URIs that fit a budget, and the film in its pixels' own size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.report.content import Images
from ganpipe.images import to_pil

if TYPE_CHECKING:
    from PIL import Image

SIDES = (256, 192, 128, 96, 64, 48, 32)  # pixels of the longer side: the largest that fits
CRISP = 64  # images up to this side are enlarged by whole factors on the page
QUALITY = 82
FRAMES = (60, 40, 30, 20, 12, 8, 5, 3)
MILLISECONDS, LAST_MILLISECONDS = 150, 2500


@dataclass(frozen=True)
class Pictures:
    """Images of one size as data URIs (WebP)."""

    uris: tuple[str, ...]
    width: int
    height: int
    crisp: bool
    """Small enough to be enlarged by whole factors."""
    original: int
    """Pixels of the images' longer side."""
    lossless: bool

    @property
    def reduced(self) -> bool:
        return max(self.width, self.height) < self.original


@dataclass(frozen=True)
class Film:
    """An animation and its last frame, for those who asked for no movement."""

    moving: Pictures
    still: Pictures
    frames: int
    all_frames: int


def encode(images: Images, budget: int) -> Pictures:
    """Images uint8 [n, H, W, C] as WebP data URIs of at most `budget` characters together.

    Lossless in their own size where that fits and the side is at most CRISP; else lossy, in the
    largest of SIDES that fits. The smallest is used even if it does not. The same images give
    the same bytes. Raises GanpipeError for anything but uint8 images.
    """
    check(images)
    original = max(images.shape[1:3])
    pictures = [to_pil(image) for image in images]
    if original <= CRISP:
        uris = tuple(_data_uri(_lossless(picture)) for picture in pictures)
        if sum(map(len, uris)) <= budget:
            return Pictures(uris, *pictures[0].size, crisp=True, original=original, lossless=True)
    tried, length = 0, 0
    for side in [min(original, SIDES[0]), *(side for side in SIDES if side < original)]:
        # a smaller picture needs no fewer bytes for each pixel: do not try what cannot fit
        if length * side**2 > budget * tried**2 and side != SIDES[-1]:
            continue
        shrunk = [_shrunk(picture, side) for picture in pictures]
        uris = tuple(_data_uri(_lossy(picture)) for picture in shrunk)
        tried, length = side, sum(map(len, uris))
        if length <= budget:
            break
    crisp = original <= CRISP and side == original
    return Pictures(uris, *shrunk[0].size, crisp=crisp, original=original, lossless=False)


def check(images: Images) -> None:
    """Raise GanpipeError unless these are images: uint8 [n, H, W, C], n > 0, C = 1 or 3."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise GanpipeError(
            f"the report shows images uint8 [n, H, W, C] with C = 1 or 3, not {images.dtype} "
            f"{list(images.shape)}: convert network output with ganpipe.images.to_uint8"
        )
    if not len(images):
        raise GanpipeError("the report was given no images: give the reason as a text instead")


def film(animation: bytes, budget: int) -> Film:
    """An animated picture in at most `budget` characters: fewer frames, pixels in their own size.

    Grids are enlarged for viewers that smooth; the page does so itself, which saves most of the
    bytes. The smallest version is used even if it does not fit. Raises GanpipeError for bytes
    that are no picture.
    """
    frames = _frames(animation)
    pixel = _enlargement(frames)
    native = [frame.resize((frame.width // pixel, frame.height // pixel), 0) for frame in frames]
    crisp = max(native[0].size) <= 8 * CRISP
    still = {lossless: len(_data_uri(_one(native[-1], lossless))) for lossless in (True, False)}
    tries = [(min(FRAMES[0], len(native)), True)]
    tries += [(most, False) for most in FRAMES if most <= len(native)] or [(len(native), False)]
    for count, lossless in tries:
        # frames share what does not move: some more may fit than the last one's size says
        if count * still[lossless] > 2 * budget and count != tries[-1][0]:
            continue
        chosen = [
            native[round(place * (len(native) - 1) / max(1, count - 1))] for place in range(count)
        ]
        uri = _data_uri(_animated(chosen, lossless=lossless))
        if len(uri) <= budget:
            break
    last = _data_uri(_one(native[-1], lossless))
    width, height = native[0].size
    moving = Pictures((uri,), width, height, crisp, max(width, height), lossless)
    end = Pictures((last,), width, height, crisp, max(width, height), lossless)
    return Film(moving, end, frames=count, all_frames=len(native))


def _frames(animation: bytes) -> list[Image.Image]:
    from PIL import Image, ImageSequence, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(animation), formats=["WEBP", "GIF", "PNG"]) as opened:
            return [frame.convert("RGB") for frame in ImageSequence.Iterator(opened)]
    except (UnidentifiedImageError, OSError) as error:
        raise GanpipeError(
            f"the training film cannot be read ({error}): train writes model/film.webp anew"
        ) from error


def _enlargement(frames: list[Image.Image]) -> int:
    """The whole factor by which every pixel of the frames was repeated; 1 where it was not."""
    pixels = np.asarray(frames[-1])
    height, width = pixels.shape[:2]
    for factor in range(16, 1, -1):
        if height % factor or width % factor:
            continue
        native = pixels[::factor, ::factor]
        if np.array_equal(native.repeat(factor, 0).repeat(factor, 1), pixels):
            return factor
    return 1


def _shrunk(picture: Image.Image, side: int) -> Image.Image:
    from PIL import Image

    copy = picture.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def _lossless(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", lossless=True, quality=100, method=4)
    return out.getvalue()


def _lossy(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()


def _one(frame: Image.Image, lossless: bool) -> bytes:
    return _lossless(frame) if lossless else _lossy(frame)


def _animated(frames: list[Image.Image], *, lossless: bool) -> bytes:
    if len(frames) == 1:
        return _one(frames[0], lossless)
    out = io.BytesIO()
    durations = [MILLISECONDS] * (len(frames) - 1) + [LAST_MILLISECONDS]
    options: dict[str, Any] = {"lossless": True} if lossless else {"quality": QUALITY}
    options |= {"save_all": True, "append_images": frames[1:], "duration": durations, "loop": 0}
    frames[0].save(out, "WEBP", **options)
    return out.getvalue()


def _data_uri(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
