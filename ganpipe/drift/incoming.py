"""Images that came in: listed, those that are new taken, decoded and resized like training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.data.engine import WorkerDied, open_engine
from ganpipe.data.examine import Limits, examine
from ganpipe.data.pixels import Shape, to_pixels
from ganpipe.data.sources import Entry, Source
from ganpipe.params import ComputeParams

CHUNK = 64
DUPLICATE, TOO_SMALL = "duplicate-of", "too-small"


@dataclass(frozen=True)
class Looked:
    """What one file is: why it is not used, or its pixels."""

    status: str
    pixels: NDArray[np.uint8] | None = None
    """uint8 [H, W, C]."""
    sha256: str = ""
    """Of the whole picture's pixels, however it is stored."""


@dataclass(frozen=True)
class Incoming:
    """The images that can be used, in the order of their paths."""

    images: NDArray[np.uint8]
    """uint8 [n, H, W, C]."""
    labels: list[str]
    """The class of each; empty where the source does not say that of all."""
    set_aside: dict[str, int]


def chosen(entries: Sequence[Entry], most: int, seed: int) -> list[Entry]:
    """At most `most` of the entries, chosen by the seed, in their order."""
    if len(entries) <= most:
        return list(entries)
    numbers = randomness.permutation(seed, "drift/incoming", 0, len(entries))[:most]
    return [entries[number] for number in np.sort(numbers)]


def take(
    source: Source, wanted: Sequence[Entry], shape: Shape, min_side: int, labelled: bool
) -> Incoming:
    """Read, check and resize some entries, as ingest and preprocess do.

    Of equal pictures the first by path counts. What cannot be used is counted by reason.
    """
    looked: dict[str, Looked] = {}
    function = partial(look_at, shape=shape, min_side=min_side)
    with open_engine(ComputeParams()) as engine:
        for paths, _, results in engine.map(function, _chunks(source, wanted, looked)):
            for path, result in zip(paths, results, strict=True):
                looked[path] = (
                    Looked("crashes-decoder") if isinstance(result, WorkerDied) else result
                )
    set_aside: Counter[str] = Counter()
    used: dict[str, tuple[Entry, NDArray[np.uint8]]] = {}
    for entry in wanted:
        found = looked[entry.path]
        if found.pixels is None or found.sha256 in used:
            set_aside[found.status if found.pixels is None else DUPLICATE] += 1
            continue
        used[found.sha256] = entry, found.pixels
    labels = [entry.label for entry, _ in used.values()] if labelled else []
    one = (shape.height, shape.width, shape.channels)
    pixels = [image for _, image in used.values()]
    images = np.stack(pixels) if pixels else np.empty((0, *one), np.uint8)
    return Incoming(images, [] if "" in labels else labels, dict(sorted(set_aside.items())))


def _chunks(
    source: Source, wanted: Sequence[Entry], looked: dict[str, Looked]
) -> Iterator[tuple[list[str], list[bytes]]]:
    """Files with their bytes; what could not be read is noted at once."""
    paths: list[str] = []
    payloads: list[bytes] = []
    for entry, payload in source.read(wanted):
        if entry.status:
            looked[entry.path] = Looked(entry.status)
            continue
        paths.append(entry.path)
        payloads.append(payload)
        if len(paths) == CHUNK:
            yield paths, payloads
            paths, payloads = [], []
    if paths:
        yield paths, payloads


def look_at(payloads: list[bytes], shape: Shape, min_side: int) -> list[Looked]:
    """Each file's pixels in the shape, or why there are none: a pure function of the bytes."""
    return [_look_at(payload, shape, min_side) for payload in payloads]


def _look_at(payload: bytes, shape: Shape, min_side: int) -> Looked:
    facts = examine(payload, Limits(shape.max_pixels, perceptual=False))
    if facts.status != "ok":
        return Looked(facts.status)
    if min(facts.width, facts.height) < min_side:
        return Looked(TOO_SMALL)
    return Looked("ok", to_pixels(payload, shape), facts.pixels_sha256)
