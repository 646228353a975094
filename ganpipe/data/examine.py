"""What one file is: decoded once, all of it, so that nothing later meets a surprise."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from ganpipe.data.decode import (
    TooManyPixels,
    canonical,
    flatten,
    has_image_mark,
    is_animated,
    open_image,
    upright_size,
)
from ganpipe.errors import GanpipeError

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Limits:
    """What decides the facts of a file, beside its bytes."""

    max_pixels: int
    """Images with more pixels are `too-large`, and never decoded."""
    perceptual: bool
    """Whether near duplicates are looked for, so that a perceptual hash is needed."""


class Facts(NamedTuple):
    """What a file's bytes tell."""

    status: str
    """A key of manifest.STATUSES."""
    format: str = ""
    width: int = 0
    """Pixels, upright."""
    height: int = 0
    mode: str = ""
    pixels_sha256: str = ""
    """Of size and canonical pixels: the same however an image is stored without loss."""
    perceptual_hash: str = ""
    """64 bits in hexadecimal, where asked for."""


def examine(payload: bytes, limits: Limits) -> Facts:
    """Look at one file. Never raises for bad bytes: the status says what is wrong with them."""
    found = Facts("not-an-image")
    try:
        with open_image(payload, limits.max_pixels) as image:
            found = Facts("truncated", image.format or "", *upright_size(image), image.mode)
            if is_animated(image):
                return found._replace(status="animated")
            pixels = canonical(image)
            return found._replace(
                status="ok",
                width=pixels.width,
                height=pixels.height,
                pixels_sha256=_pixels_sha256(pixels),
                perceptual_hash=_perceptual_hash(pixels) if limits.perceptual else "",
            )
    except TooManyPixels:
        return found._replace(status="too-large")
    except MemoryError:
        raise GanpipeError(
            f"an image of {found.width}x{found.height} pixels does not fit into the memory that "
            f"is left: lower compute.processes, or data.max_pixels so that it is set aside"
        ) from None
    except Exception:  # noqa: BLE001 - decoders raise anything for hostile bytes; the status tells
        cut = found.status == "not-an-image" and has_image_mark(payload)
        return found._replace(status="truncated") if cut else found


def examine_all(payloads: list[bytes], limits: Limits) -> list[Facts]:
    """`examine` for several files, in their order."""
    return [examine(payload, limits) for payload in payloads]


def _pixels_sha256(pixels: Image.Image) -> str:
    size = f"{pixels.width}x{pixels.height}"
    header = size if pixels.mode == "RGB" else f"{pixels.mode} {size}"
    digest = hashlib.sha256(header.encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def _perceptual_hash(pixels: Image.Image) -> str:
    """DCT hash of the grey picture over white (Zauner, "Implementation and benchmarking of
    perceptual image hash functions", 2010), as the library ImageHash computes it."""
    import imagehash

    bits = imagehash.phash(flatten(pixels, "L", WHITE)).hash
    return np.packbits(bits).tobytes().hex()
