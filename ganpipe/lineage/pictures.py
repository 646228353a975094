"""Samples of two generators side by side, from the same latents where they have one size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import images
from ganpipe.errors import GanpipeError
from ganpipe.files import replacing
from ganpipe.lineage.told import page

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from ganpipe.networks import Generator

COLUMNS, ROWS = 8, 8
GAP = 24  # pixels between the two


def write_page(
    uri: str,
    one: ModelVersion,
    two: ModelVersion,
    repo: Path,
    found: Mapping[str, Any],
    out: Path,
) -> tuple[Path, Path]:
    """Write `out` (.html), the comparison `found` with samples, and the samples as a PNG beside it.

    Raises GanpipeError for another suffix, and when a generator is gone, damaged or not known
    to this code.
    """
    from ganpipe.networks import load_generator
    from ganpipe.packaging import download
    from ganpipe.workspace import state_folder

    if out.suffix != ".html":
        raise GanpipeError(f"--out {out}: name a file that ends in .html")
    cache = state_folder(repo) / "models"
    first, second = (load_generator(download(uri, each, cache)) for each in (one, two))
    png = images.png_bytes(side_by_side(first, second))
    picture = out.with_suffix(".png")
    for path, content in (
        (picture, png),
        (out, page(found, png, told(first, second)).encode("utf-8")),
    ):
        with replacing(path) as beside:
            beside.write_bytes(content)
    return out, picture


def side_by_side(one: Generator, two: Generator, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [H, W, C]: 64 samples of each; a row for each class where both know the same ones."""
    shared = one.classes[:ROWS] if one.classes == two.classes else []
    grids = [_coloured(images.grid(_samples(each, shared, seed), COLUMNS)) for each in (one, two)]
    height = max(grid.shape[0] for grid in grids)
    parts = [_padded(grid, height) for grid in grids]
    gap = np.full((height, GAP, 3), 255, np.uint8)
    return np.concatenate([parts[0], gap, parts[1]], axis=1)


def told(one: Generator, two: Generator) -> str:
    """How far the two pictures can be compared image by image."""
    if one.config.latent != two.config.latent:
        return f"Latents of {one.config.latent} and {two.config.latent} numbers: other images"
    return "The same latents on both sides"


def _samples(generator: Generator, classes: list[str], seed: int) -> NDArray[np.uint8]:
    from ganpipe.networks import sample

    if not classes:
        return sample(generator, COLUMNS * ROWS, seed)
    rows = [
        sample(generator, COLUMNS, seed, first=number * COLUMNS, label=number)
        for number in range(len(classes))
    ]
    return np.concatenate(rows)


def _coloured(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image if image.shape[2] == 3 else image.repeat(3, axis=2)


def _padded(image: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    below = np.full((height - image.shape[0], *image.shape[1:]), 255, np.uint8)
    return np.concatenate([image, below])
