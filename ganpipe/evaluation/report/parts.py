"""What the page shows of each set of images: how many, how large, in which rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ganpipe.data.words import shown
from ganpipe.evaluation.report.content import (
    ClassRow,
    Extremes,
    Images,
    Neighbours,
    Numbers,
    Sweep,
)
from ganpipe.evaluation.report.pictures import Pictures, encode

# characters of each part's pictures; small images need a tenth
BUDGET = {
    "samples": 350_000,
    "reals": 350_000,
    "classes": 400_000,
    "interpolations": 250_000,
    "truncation": 200_000,
    "neighbours": 400_000,
    "extremes": 200_000,
    "film": 600_000,
}
MOST_CLASSES = 50  # with pictures; all have their row in report/plots/classes.csv
MOST_STRIPS = 24
LARGE = 128  # pixels of a side; of larger images fewer are shown, which can be looked into


@dataclass(frozen=True)
class Tile:
    """An image with what is written below it."""

    uri: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Tiles:
    """Images in rows."""

    tiles: list[Tile]
    columns: int
    pictures: Pictures


@dataclass(frozen=True)
class ClassTiles:
    """A class as the page shows it."""

    row: ClassRow
    generated: Tiles
    real: Tiles | None
    bar: float
    """Its distance in per cent of the largest one."""


@dataclass(frozen=True)
class Strip:
    """A generated image and, for each kind of distance, its nearest training images."""

    number: int
    suspect: bool
    generated: Tiles
    rows: list[tuple[str, Tiles]]


def grid(images: Images | str, part: str, alt: str) -> Tiles | None:
    """The first of some images near a square."""
    if isinstance(images, str):
        return None
    side = max(images.shape[1:3])
    count = min(len(images), 64 if side <= 64 else 36 if side <= LARGE else 16)
    return _tiles(images[:count], BUDGET[part], math.ceil(math.sqrt(count)), alt)


def rows(images: Images | str, part: str, alt: str) -> Tiles | None:
    """Rows of images uint8 [rows, columns, H, W, C]."""
    return None if isinstance(images, str) else _rows(images, BUDGET[part], alt)


def sweep(levels: Sweep | str) -> list[tuple[str, Tiles]] | None:
    """A row of images for each level."""
    if isinstance(levels, str):
        return None
    each = BUDGET["truncation"] // len(levels.levels)
    return [
        (f"{level:g}", _tiles(images, each, len(images), f"truncation {level:g}, image"))
        for level, images in zip(levels.levels, levels.images, strict=True)
    ]


def classes(given: Sequence[ClassRow] | str) -> list[ClassTiles] | None:
    """The first MOST_CLASSES classes."""
    if isinstance(given, str):
        return None
    chosen = given[:MOST_CLASSES]
    distances = [_or_nought(each.distance) for each in chosen]
    largest = max(distances, default=0.0)
    budget = BUDGET["classes"] // max(1, 2 * len(chosen))
    return [
        ClassTiles(
            each,
            _class_tiles(each.generated, budget, f"generated {shown(each.name, 40)}"),
            None if each.real is None else _class_tiles(each.real, budget, "real"),
            100 * distance / largest if largest else 0.0,
        )
        for each, distance in zip(chosen, distances, strict=True)
    ]


def neighbours(near: Neighbours | str) -> list[Strip] | None:
    """A strip for each of the first generated images."""
    if isinstance(near, str):
        return None
    count = min(len(near.generated), MOST_STRIPS if near.generated.shape[1] <= LARGE else 6)
    kinds = [("by features", near.by_feature, near.feature_distances)]
    if near.by_pixel is not None and near.pixel_distances is not None:
        kinds.append(("by pixels", near.by_pixel, near.pixel_distances))
    each = BUDGET["neighbours"] // (1 + sum(images.shape[1] for _, images, _ in kinds))
    made = _tiles(near.generated[:count], each, 1, "generated image")
    strips = [
        (kind, images.shape[1], _rows(images[:count], each * images.shape[1], kind, distances))
        for kind, images, distances in kinds
    ]
    return [
        Strip(
            near.numbers[place] if near.numbers else place,
            near.suspects[place] if near.suspects else False,
            Tiles([tile], 1, made.pictures),
            [
                (kind, Tiles(all_rows.tiles[place * k : place * k + k], k, all_rows.pictures))
                for kind, k, all_rows in strips
            ],
        )
        for place, tile in enumerate(made.tiles)
    ]


def extremes(given: Extremes | str) -> list[tuple[str, Tiles]] | None:
    """Both ends of the samples, each under its title."""
    if isinstance(given, str):
        return None
    budget, most = BUDGET["extremes"] // 2, 16 if given.nearest.shape[1] <= LARGE else 8
    ends = (
        ("Nearest to the real images", given.nearest, given.nearest_distances),
        ("Farthest from them", given.farthest, given.farthest_distances),
    )
    return [
        (title, _tiles(images[:most], budget, min(most, 8), "sample", distances[:most]))
        for title, images, distances in ends
    ]


def _rows(images: Images, budget: int, alt: str, captions: Numbers | None = None) -> Tiles:
    most = len(images) if max(images.shape[2:4]) <= LARGE else 6
    flat = images[:most].reshape(-1, *images.shape[2:])
    texts = None if captions is None else captions[:most].reshape(-1)
    return _tiles(flat, budget, images.shape[1], alt, texts)


def _class_tiles(images: Images, budget: int, alt: str) -> Tiles:
    return _tiles(images, budget, len(images), alt)


def _tiles(
    images: Images, budget: int, columns: int, alt: str, captions: Numbers | None = None
) -> Tiles:
    pictures = encode(images, budget)
    texts = [""] * len(images) if captions is None else [_short(each) for each in captions]
    tiles = [
        Tile(uri, f"{alt} {number}", text)
        for number, (uri, text) in enumerate(zip(pictures.uris, texts, strict=True), start=1)
    ]
    return Tiles(tiles, columns, pictures)


def _short(value: float) -> str:
    """Three digits: there is little room below an image."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _or_nought(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
