"""Images as what a client wants: a PNG grid, a ZIP of PNG files, or JSON with PNG in base64."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ganpipe import images as pictures

Format = Literal["png", "zip", "json"]
MEDIA_TYPES: Mapping[Format, str] = MappingProxyType(
    {"png": "image/png", "zip": "application/zip", "json": "application/json"}
)
QUALITY = re.compile(r"q\s*=\s*(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


@dataclass(frozen=True)
class About:
    """What a JSON answer says beside its images."""

    model: str
    version: str
    seed: int
    truncation: float
    labels: list[str]
    """The class of each image; empty where the generator has none."""


def chosen(accept: str) -> Format | None:
    """The format that an Accept header likes best: png where several are, None where none is."""
    best: Format | None = None
    liked = 0.0
    for each in accept.split(","):
        kind, _, rest = each.strip().lower().partition(";")
        weight = QUALITY.search(rest)
        quality = float(weight[1]) if weight else 1.0
        fits = (name for name, media in MEDIA_TYPES.items() if fnmatchcase(media, kind.strip()))
        if quality > liked and (found := next(fits, None)):
            best, liked = found, quality
    return best


def encode(images: NDArray[np.uint8], wanted: Format, about: About) -> bytes:
    """Bytes of images uint8 [n, H, W, C] in the wanted format; equal requests, equal bytes."""
    if wanted == "png":
        return pictures.png_bytes(pictures.grid(images))
    files = [pictures.png_bytes(image) for image in images]
    return zipped(files) if wanted == "zip" else as_json(files, about)


def zipped(files: list[bytes]) -> bytes:
    """A ZIP archive with 00000.png and so on."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # stored: PNG is compressed already
        for number, content in enumerate(files):
            archive.writestr(zipfile.ZipInfo(f"{number:05}.png"), content)
    return out.getvalue()


def as_json(files: list[bytes], about: About) -> bytes:
    """What was asked for, and the PNG files in base64 under `images`."""
    told: dict[str, Any] = asdict(about)
    told["images"] = [base64.b64encode(content).decode() for content in files]
    return json.dumps(told).encode()
