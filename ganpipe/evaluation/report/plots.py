"""report/plots: tables and pictures for `dvc plots diff`, which puts two revisions together."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.distances import Extrapolation
from ganpipe.evaluation.report.content import (
    Images,
    Neighbours,
    Report,
    Sweep,
)
from ganpipe.files import replacing
from ganpipe.images import grid, to_pil, write_png

CLASSES, EXTRAPOLATION = "classes.csv", "fd_infinity.csv"
SIDE = 64  # of the images in these PNG files; larger ones are reduced


def write_plots(report: Report, folder: Path) -> None:
    """Write what there is of the report's tables and pictures into a folder that exists.

    Tables are written even without rows, so that a plot named in dvc.yaml always has its file.
    """
    classes = [] if isinstance(report.classes, str) else report.classes
    rows = ((each.name, each.distance, each.floor, each.coverage) for each in classes)
    _write_table(folder / CLASSES, ("class", "distance", "floor", "coverage"), rows)
    fit = report.extrapolation
    points = _points(fit) if isinstance(fit, Extrapolation) else []
    _write_table(folder / EXTRAPOLATION, ("one_over_images", "distance", "fit"), points)
    # one that dvc.yaml names but nothing is known for
    write_png(folder / "neighbours.png", np.full((SIDE, SIDE, 1), 255, np.uint8))
    for name, rows_of_images in _pictures(report).items():
        small = [_reduced(image) for images in rows_of_images for image in images]
        write_png(folder / f"{name}.png", grid(np.stack(small), len(rows_of_images[0])))


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image [H, W, C] with at most SIDE pixels a side."""
    smaller = to_pil(image).reduce(-(-max(image.shape[:2]) // SIDE))
    return np.asarray(smaller).reshape(smaller.height, smaller.width, image.shape[2])


def _points(fit: Extrapolation) -> list[tuple[float, float | None, float]]:
    """The measured points and, at the left end of the line, the limit."""
    pairs = sorted(zip((1.0 / n for n in fit.counts), fit.distances, strict=True))
    measured = [(x, distance, fit.value + fit.slope * x) for x, distance in pairs]
    return [(0.0, None, fit.value), *measured]


def _pictures(report: Report) -> dict[str, Sequence[Images]]:
    """Rows of images by the name of their file."""
    found: dict[str, Sequence[Images]] = {}
    if not isinstance(report.classes, str) and report.classes:
        found["classes"] = [each.generated for each in report.classes if len(each.generated)]
    if not isinstance(report.interpolations, str):
        found["interpolations"] = list(report.interpolations)
    if isinstance(report.truncation, Sweep):
        found["truncation"] = list(report.truncation.images)
    if isinstance(near := report.neighbours, Neighbours):
        pairs = zip(near.generated, near.by_feature, strict=True)
        found["neighbours"] = [np.concatenate([made[None], real]) for made, real in pairs]
    return found


def _write_table(
    path: Path, head: Sequence[str], rows: Iterable[Sequence[str | float | None]]
) -> None:
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows(
            [
                "" if each is None else f"{each:.6g}" if isinstance(each, float) else each
                for each in row
            ]
            for row in rows
        )
