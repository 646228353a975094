"""IDX files, the format of MNIST and its kin, gzipped or not: images, and labels if there are any.

LeCun, Cortes and Burges, "The MNIST database of handwritten digits": two zero bytes, the type,
the number of dimensions, each dimension as a big-endian 32-bit number, the values row by row.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources.arrays import (
    ArraySource,
    Stack,
    check_size,
    identity,
    local_path,
    open_unpacked,
    reading,
    streamed,
)
from ganpipe.errors import GanpipeError

UINT8 = 8
OTHER_TYPES = {9: "int8", 11: "int16", 12: "int32", 13: "float32", 14: "float64"}
IMAGES = re.compile(r"^(.*)images(.idx)[34](.*?)(\.gz)?$", re.IGNORECASE)
TEST = re.compile("(?<![a-z])(t10k|test)", re.IGNORECASE)
REMEDY = "download or write it again"


class Idx(ArraySource):
    """Grey (idx3) or colour (idx4, channels last) images of uint8 in IDX files.

    A folder holds `*images*idx3*` (or idx4) files, one for train and one for t10k or test, which
    give the published split, or one alone; `*labels*idx1*` files of the same names hold the
    classes. Or the path is one such file of images.
    """

    kind = "idx"

    def __init__(self, path: str) -> None:
        self.path = local_path(path)
        self.files = find_images(self.path)

    @cached_property
    def stacks(self) -> Sequence[Stack]:
        with_labels = [images for images in self.files if find_labels(images)]
        if with_labels and len(with_labels) < len(self.files):
            lacking = next(images for images in self.files if images not in with_labels)
            raise GanpipeError(
                f"{lacking} has no file of labels beside it, but {with_labels[0].name} has: add "
                f"the missing one, or remove the other"
            )
        if len(self.files) == 1:
            return [stack_of(self.files[0])]
        sides = ["test" if TEST.search(file.name) else "train" for file in self.files]
        return [
            stack_of(file, f"{side}/", side) for file, side in zip(self.files, sides, strict=True)
        ]


def find_images(path: Path) -> list[Path]:
    """The files of images at a path: one, or one for train and one for test.

    Raises GanpipeError when there is none, or it is unclear which belong together.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise GanpipeError(
            f"data.path={path} does not exist: set data.path to a folder of IDX files, or to one "
            f"(its absolute path; now in {Path.cwd()})"
        )
    # a plain file hides its gzipped twin: torchvision leaves both behind
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir(), reverse=True):
        if IMAGES.match(file.name) and file.is_file():
            found[file.name.removesuffix(".gz")] = file
    files = [found[name] for name in sorted(found)]
    if not files:
        raise GanpipeError(
            f"data.path={path} holds no file named like train-images-idx3-ubyte or "
            f"train-images-idx3-ubyte.gz: put IDX files there, or set data.path to one file"
        )
    if len(files) > 2 or len({bool(TEST.search(file.name)) for file in files}) < len(files):
        names = ", ".join(file.name for file in files)
        raise GanpipeError(
            f"data.path={path} holds several sets of IDX files ({names}): put one set, train "
            f"and test, into a folder of its own"
        )
    return files


def find_labels(images: Path) -> Path | None:
    """The file of labels that belongs to a file of images, if it lies beside it."""
    named = IMAGES.match(images.name)
    if named is None:
        return None
    start, idx, end, _ = named.groups()
    name = re.compile(
        rf"{re.escape(start)}labels{re.escape(idx)}1{re.escape(end)}(\.gz)?", re.IGNORECASE
    )
    beside = sorted(file for file in images.parent.iterdir() if name.fullmatch(file.name))
    return beside[0] if beside else None


def stack_of(
    images: Path,
    folder: str = "",
    split: str = "",
    names: Sequence[str] = (),
    labels: Path | None = None,
    tag: str = "",
) -> Stack:
    """The images in an IDX file with the classes in another, by default the one beside it.

    `names` are those of the classes, by default their numbers. Raises GanpipeError that names
    the file that is damaged, of another type, or does not fit.
    """
    with reading(images, REMEDY):
        start, shape = read_header(images)
        check_size(shape, 1, images.stat().st_size)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)):
        raise GanpipeError(
            f"{images} has shape {list(shape)}: images are [n, height, width], or "
            f"[n, height, width, channels] with 1, 3 or 4 channels"
        )
    labels = labels or find_labels(images)
    numbers = read_labels(labels).tolist() if labels else []
    if labels and len(numbers) != shape[0]:
        raise GanpipeError(
            f"{images} holds {shape[0]} images, but {labels.name} {len(numbers)} labels: {REMEDY}"
        )
    if names and max(numbers, default=0) >= len(names):
        raise GanpipeError(
            f"{labels} holds class {max(numbers)}, but there are {len(names)}: {REMEDY}"
        )
    return Stack(
        folder,
        split,
        tag or identity(images),
        int(np.prod(shape[1:])),
        [names[number] if names else str(number) for number in numbers] or [""] * shape[0],
        partial(_images, images, start, shape),
    )


def _images(
    path: Path, start: int, shape: tuple[int, ...], indices: Sequence[int]
) -> Iterator[NDArray[np.uint8]]:
    with reading(path, REMEDY):
        for image in streamed(
            partial(open_unpacked, path), start, shape, np.dtype(np.uint8), indices
        ):
            yield image if image.ndim == 3 else image[..., None]


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The labels [n] in an IDX file. Raises GanpipeError that names it."""
    with reading(path, REMEDY):
        start, shape = read_header(path)
        check_size(shape, 1, path.stat().st_size)
        if len(shape) != 1:
            raise ValueError(f"labels are [n], not of shape {list(shape)}")
        with open_unpacked(path) as file:
            labels = np.frombuffer(file.read(start + shape[0] + 1), np.uint8, offset=start)
        if len(labels) != shape[0]:
            raise ValueError(f"it holds {len(labels)} of {shape[0]} labels")
    return labels


def read_header(path: Path) -> tuple[int, tuple[int, ...]]:
    """Where the values of an IDX file start, in bytes, and their shape.

    Raises GanpipeError for any type but uint8, and what `reading` understands for damage.
    """
    with open_unpacked(path) as file:
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in (UINT8, *OTHER_TYPES):
            raise ValueError("it is no IDX file")
        if magic[2] != UINT8:
            raise GanpipeError(
                f"{path} holds {OTHER_TYPES[magic[2]]} values: convert them to uint8, 0 to 255"
            )
        dimensions = file.read(4 * magic[3])
        if len(dimensions) < 4 * magic[3]:
            raise EOFError("it ends within its header")
    return 4 + 4 * magic[3], struct.unpack(f">{magic[3]}I", dimensions)
