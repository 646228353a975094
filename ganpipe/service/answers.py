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
from ganpipe.generation.formats import METADATA, UNLABELLED
from ganpipe.generation.place import DESCRIPTION

Format = Literal["png", "zip", "json"]
MEDIA_TYPES: Mapping[Format, str] = MappingProxyType(
    {"png": "image/png", "zip": "application/zip", "json": "application/json"}
)
RUNS = 3  # zlib's Z_RLE
QUALITY = re.compile(r"q\s*=\s*(\d+(?:\.\d*)?|\.\d+)", re.ASCII)


@dataclass(frozen=True)
class About:
    """What an answer says beside its images: all of it in JSON, in files of their own in a ZIP."""

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
        return sheet(images)
    files = [pictures.png_bytes(image) for image in images]
    return zipped(files, about) if wanted == "zip" else as_json(files, about)


def sheet(images: NDArray[np.uint8]) -> bytes:
    """The grid of images as a PNG file, for which zlib looks for runs of equal bytes alone.

    Enlarged images are full of them: about as small a file, in half the time.
    """
    out = io.BytesIO()
    picture = pictures.to_pil(pictures.grid(images))
    picture.save(out, format="PNG", compress_level=1, compress_type=RUNS)
    return out.getvalue()


def zipped(files: list[bytes], about: About) -> bytes:
    """A ZIP archive with 00000.png and so on, and what `ganpipe generate` puts beside them.

    That is metadata.jsonl, a line with file name and class for each image, which Hugging Face and
    `data.source=archive` read, and generation.json: model, version, seed, truncation, count.
    """
    named = {f"{number:05}.png": content for number, content in enumerate(files)}
    labels = about.labels or [UNLABELLED] * len(files)
    lines = "".join(
        json.dumps({"file_name": name, "label": label}, ensure_ascii=False) + "\n"
        for name, label in zip(named, labels, strict=True)
    )
    told = asdict(about) | {"count": len(files)}
    del told["labels"]
    named |= {METADATA: lines.encode(), DESCRIPTION: json.dumps(told, indent=2).encode()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # stored: PNG is compressed already
        for name, content in named.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def as_json(files: list[bytes], about: About) -> bytes:
    """What was asked for, and the PNG files in base64 under `images`."""
    told: dict[str, Any] = asdict(about)
    told["images"] = [base64.b64encode(content).decode() for content in files]
    return json.dumps(told).encode()
