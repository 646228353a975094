"""What there is to know of a pile of images, counted from its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.manifest import STATUSES
from ganpipe.data.words import pixels, size

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from ganpipe.data.dataset import Dataset

BINS = 24
LOGARITHMIC_FROM = 30  # a range of values this wide hides most of them on a linear axis


@dataclass(frozen=True)
class ClassCount:
    """How many images of a class there are to train and to test with."""

    number: int
    name: str
    train: int
    test: int


@dataclass(frozen=True)
class Bin:
    """One bar of a histogram; `height` is its share of the highest, in percent."""

    range: str
    count: int
    height: float


@dataclass(frozen=True)
class Histogram:
    """How a quantity is spread over the images; `bins` is empty when all have one value."""

    title: str
    smallest: str
    median: str
    largest: str
    logarithmic: bool
    bins: list[Bin]


def status_counts(manifest: pd.DataFrame) -> dict[str, int]:
    """Number of files by status, in the order of STATUSES; `ok` always, others where there are."""
    found = manifest["status"].value_counts()
    counts = {status: int(found.get(status, 0)) for status in STATUSES}
    return {status: number for status, number in counts.items() if number or status == "ok"}


def class_counts(train: Dataset, test: Dataset) -> list[ClassCount]:
    """Images of each class, the largest class first; empty without classes."""
    counts = [
        np.bincount(dataset.labels, minlength=len(train.classes)).tolist()
        for dataset in (train, test)
        if dataset.labels is not None
    ]
    if len(counts) < 2:
        return []
    found = [
        ClassCount(number, name, *sides)
        for number, (name, *sides) in enumerate(zip(train.classes, *counts, strict=True))
    ]
    return sorted(found, key=lambda each: (-each.train - each.test, each.number))


def used_files(manifest: pd.DataFrame) -> pd.DataFrame:
    """What is told of the originals of the used images."""
    columns = ["width", "height", "bytes", "format", "mode"]
    return manifest.loc[manifest["status"] == "ok", columns]


def histograms(used: pd.DataFrame) -> list[Histogram]:
    """Spread of width, height, pixels, aspect ratio and file size of the used originals."""
    width, height = used["width"].to_numpy(), used["height"].to_numpy()
    return [
        histogram("Width", width, lambda value: f"{value:,.0f} px"),
        histogram("Height", height, lambda value: f"{value:,.0f} px"),
        histogram("Pixels", width * height, pixels),
        # a ratio and its inverse are equally far from a square
        histogram(
            "Width : height",
            width / np.maximum(height, 1),
            lambda value: f"{value:.3g}",
            always_logarithmic=True,
        ),
        histogram("File size", used["bytes"].to_numpy(), size),
    ]


def histogram(
    title: str,
    values: NDArray[np.int64] | NDArray[np.float64],
    words: Callable[[float], str],
    *,
    always_logarithmic: bool = False,
) -> Histogram:
    """Count numbers >= 0 [n] in at most BINS ranges; whole numbers get whole-numbered ranges."""
    low, high = float(values.min()), float(values.max())
    logarithmic = low > 0 and (always_logarithmic or high / low >= LOGARITHMIC_FROM)
    bins = []
    if low < high:
        edges = _edges(low, high, logarithmic, whole=values.dtype.kind == "i")
        counts = np.histogram(values, edges)[0].tolist()
        ends = [words(edge) for edge in edges.tolist()]
        bins = [
            Bin(f"from {start} to {stop}", number, 100.0 * number / max(counts))
            for start, stop, number in zip(ends[:-1], ends[1:], counts, strict=True)
        ]
    median = words(float(np.median(values)))
    return Histogram(title, words(low), median, words(high), logarithmic and bool(bins), bins)


def _edges(low: float, high: float, logarithmic: bool, whole: bool) -> NDArray[np.float64]:
    if logarithmic:
        edges = np.geomspace(low, high, BINS + 1)
        edges[0], edges[-1] = low, high
    elif whole:
        # ranges of one width, or some would hold one number more and look fuller
        width = int(-(-(high - low + 1) // BINS))
        edges = np.arange(low, high + width + 1, width)
    else:
        edges = np.linspace(low, high, BINS + 1)
    return edges


def kinds(used: pd.DataFrame, column: str, limit: int = 5) -> list[tuple[str, int]]:
    """The most frequent values of a manifest column and their counts, the others summed."""
    counts = used[column].value_counts()
    frequent = sorted(
        ((str(name), int(number)) for name, number in counts.items()),
        key=lambda each: (-each[1], each[0]),
    )
    rest = sum(number for _, number in frequent[limit:])
    return frequent[:limit] + ([("others", rest)] if rest else [])
