"""NumPy's .npz and .npy files: arrays of images, and of labels if there are any."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources.arrays import ArraySource, Stack, local_path, reading, streamed
from ganpipe.data.sources.npy import REMEDY, Stored, arrays_in, header, whole
from ganpipe.errors import GanpipeError

IMAGES = ("images", "image", "x", "data", "arr_0")
LABELS = ("labels", "label", "y", "arr_1")
# images for validation are not those of the final measurement, so they are trained on
SIDES = {"train": "train", "val": "train", "valid": "train", "test": "test"}
CHANNELS = (1, 3, 4)


class Npz(ArraySource):
    """Images in NumPy's files, never unpickled.

    Arrays named images, x or data hold images, labels or y their classes; with train, val or test
    before or after the name (x_train, test_images) they give the published split. Images are
    [n, h, w], [n, h, w, 1|3|4] or [n, 1|3|4, h, w], of uint8, or of floats in [0, 1]; labels are
    whole numbers or text, [n] or [n, 1].

    Images are read one by one, from compressed members too; only an array in column-major order
    inside an .npz is held in memory as a whole.
    """

    kind = "npz"

    def __init__(self, path: str) -> None:
        self.path = local_path(path)
        if not self.path.is_file():
            raise GanpipeError(
                f"data.path={path} is no file: set data.path to an .npz or .npy file "
                f"(its absolute path; now in {Path.cwd()})"
            )

    @cached_property
    def stacks(self) -> Sequence[Stack]:
        arrays = arrays_in(self.path)
        images = self._by_side(arrays, IMAGES)
        labels = self._by_side(arrays, LABELS)
        if not images:
            raise GanpipeError(
                f"{self.path} holds {', '.join(arrays) or 'nothing'}, and no array named images, "
                f"x or data (or x_train and x_test): rename the array of images"
            )
        if ("" in images and len(images) > 1) or (labels and labels.keys() != images.keys()):
            raise GanpipeError(
                f"{self.path} holds {', '.join(arrays)}: images and labels must be there for the "
                f"same sides, all named by train, val or test, or none"
            )
        published = {"train", "test"} <= {SIDES.get(side) for side in images}
        return [
            stack_of(
                images[side],
                labels.get(side),
                folder=f"{side}/" if side else "",
                split=SIDES[side] if published else "",
            )
            for side in sorted(images)
        ]

    def _by_side(self, arrays: dict[str, Stored], names: Sequence[str]) -> dict[str, Stored]:
        """The arrays that one of the names means, by side; the side is empty where none is said."""
        found: dict[str, Stored] = {}
        for key, array in arrays.items():
            side, name = _meaning(key)
            if name not in names:
                continue
            if side in found:
                raise GanpipeError(
                    f"{found[side].name} and {array.name} may both be meant: keep one of them"
                )
            found[side] = array
        return found


def _meaning(key: str) -> tuple[str, str]:
    """Side and name of an array: x_train and train_x are (train, x)."""
    name = key.lower()
    for side in SIDES:
        stem = name.removeprefix(f"{side}_").removesuffix(f"_{side}")
        if stem != name:
            return side, stem
    return "", name


def stack_of(images: Stored, labels: Stored | None, folder: str, split: str) -> Stack:
    """The images of one side. Raises GanpipeError that names the array that does not fit."""
    start, shape, dtype, column_major = header(images)
    axes = _axes(images.name, shape)
    if dtype != np.uint8 and dtype.kind != "f":
        raise GanpipeError(
            f"{images.name} is of {dtype}: images are uint8, 0 to 255, or floats in [0, 1]; "
            f"convert it with astype(numpy.uint8)"
        )
    names = _labels(labels) if labels else [""] * shape[0]
    if labels and len(names) != shape[0]:
        raise GanpipeError(f"{images.name} has {shape[0]} images, but {len(names)} labels")

    def read(indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        with reading(images.name, REMEDY):
            values: Iterator[NDArray[Any]]
            if column_major:
                values = map(whole(images).__getitem__, indices)
            else:
                values = streamed(images.open, start, shape, dtype, indices)
            for index, value in zip(indices, values, strict=True):
                image = value[..., None] if value.ndim == 2 else value.transpose(axes)
                yield _levels(image, f"image {index} of {images.name}")

    size = dtype.itemsize * math.prod(shape[1:])
    return Stack(folder, split, images.tag, size, names, read)


def _axes(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """How the axes of one image become [h, w, c]."""
    last = len(shape) == 4 and shape[3] in CHANNELS
    first = len(shape) == 4 and shape[1] in CHANNELS
    if last and first:
        raise GanpipeError(
            f"{name} has shape {list(shape)}, whose channels may be first or last: store it as "
            f"[n, h, w] if they are grey, else with another size"
        )
    if len(shape) != 3 and not last and not first:
        raise GanpipeError(
            f"{name} has shape {list(shape)}: images are [n, h, w], [n, h, w, c] or "
            f"[n, c, h, w] with 1, 3 or 4 channels"
        )
    return (1, 2, 0) if first else (0, 1, 2)


def _labels(array: Stored) -> list[str]:
    """The labels as text."""
    _, shape, dtype, _ = header(array)
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1) or dtype.kind not in "iuUS":
        raise GanpipeError(
            f"{array.name} has shape {list(shape)} and type {dtype}: labels are [n] or [n, 1], "
            f"whole numbers or text, one class for each image"
        )
    with reading(array.name, REMEDY):
        values = whole(array).ravel().tolist()
        return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _levels(image: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """uint8 as it is, floats in [0, 1] as 0 to 255."""
    if image.dtype.kind == "f":
        if not (image.min() >= 0 and image.max() <= 1):  # neither holds for NaN
            raise GanpipeError(
                f"{name} has values from {image.min()} to {image.max()}: floats must lie in "
                f"[0, 1]; scale them, or store uint8, 0 to 255"
            )
        image = np.rint(image.astype(np.float64) * 255)
    return np.ascontiguousarray(image, dtype=np.uint8)
