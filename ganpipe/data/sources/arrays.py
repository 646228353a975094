"""Sources whose images lie one after another in arrays: each image becomes a PNG."""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources import folder
from ganpipe.data.sources.base import Entry, digest_of
from ganpipe.errors import GanpipeError
from ganpipe.images import png_bytes

LARGEST_EXPANSION = 1032  # DEFLATE unfolds a byte into at most this many


@dataclass(frozen=True)
class Stack:
    """Images of one size, in the order in which they are stored."""

    folder: str
    """First part of their paths, with its slash; empty when the source has one stack only."""
    split: str
    tag: str
    size: int
    """Bytes of one image, as stored."""
    labels: Sequence[str]
    """One for each image, empty for none."""
    images: Callable[[Sequence[int]], Iterator[NDArray[np.uint8]]]
    """The images [H, W, C] of some ascending numbers, one by one."""


class ArraySource(ABC):
    """What sources of arrays share; a subclass has a kind, stacks and perhaps classes."""

    kind: str
    resolution = 0
    layout = "{folder}{index:08d}.png"

    @property
    @abstractmethod
    def stacks(self) -> Sequence[Stack]:
        """The arrays, one for each side that is published, or one."""

    @property
    def classes(self) -> list[str]:
        return in_numeric_order(entry.label for entry in self.entries)

    @cached_property
    def entries(self) -> Sequence[Entry]:
        found = [
            Entry(
                self.layout.format(folder=stack.folder, label=label, index=index),
                stack.size,
                stack.tag,
                label,
                stack.split,
            )
            for stack in self.stacks
            for index, label in enumerate(stack.labels)
        ]
        return sorted(found, key=attrgetter("path"))

    def fingerprint(self) -> dict[str, Any]:
        return {
            "source": self.kind,
            "count": len(self.entries),
            "bytes": sum(entry.size for entry in self.entries),
            "digest": digest_of(self.entries),
        }

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        for stack in self.stacks:
            chosen = [entry for entry in wanted if entry.path.startswith(stack.folder)]
            if not chosen:
                continue
            chosen.sort(key=number_of)
            images = stack.images([number_of(entry) for entry in chosen])
            for entry, image in zip(chosen, images, strict=True):
                yield entry, png_bytes(image)


def number_of(entry: Entry) -> int:
    """Place of an image in its stack: the file name of its path, as the layouts write it."""
    return int(entry.path.rpartition("/")[2].partition(".")[0])


def in_numeric_order(labels: Iterable[str]) -> list[str]:
    """Class names that are all numbers, in their order; empty when one is no number."""
    names = set(labels) - {""}
    try:
        return sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return []


def streamed(
    opened: Callable[[], IO[bytes]],
    start: int,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    indices: Sequence[int],
) -> Iterator[NDArray[Any]]:
    """Some members of an array [n, ...] of `shape` in row-major order, `start` bytes into a file.

    `indices` ascend, at least one. Reads forward only, one member at a time, so memory is flat
    for compressed files too. Raises EOFError or ValueError when the file is shorter or longer
    than the array.
    """
    size = dtype.itemsize * math.prod(shape[1:])
    with opened() as file:
        for index in indices:
            file.seek(start + index * size)
            record = file.read(size)
            if len(record) < size:
                raise EOFError(f"it ends within image {index} of {shape[0]}")
            yield np.frombuffer(record, dtype).reshape(shape[1:])
        # beyond the last one, so that checksums at the end of the file are looked at
        if indices[-1] == shape[0] - 1 and file.read(1):
            raise ValueError(f"it goes on after its {shape[0]} images")


@contextmanager
def reading(path: Path | str, remedy: str) -> Iterator[None]:
    """Turns what damaged or forbidden files raise into a GanpipeError that names the file."""
    try:
        yield
    except (EOFError, OSError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise GanpipeError(f"{path} cannot be read ({error}): {remedy}") from None


def check_size(shape: tuple[int, ...], itemsize: int, stored: int) -> None:
    """Raise ValueError for an array that is empty, or larger than `stored` bytes can unfold to."""
    if min(shape, default=0) < 1:
        raise ValueError(f"shape {list(shape)} holds no images")
    if itemsize * math.prod(shape) > LARGEST_EXPANSION * stored:
        raise ValueError(f"{stored} bytes are too few for shape {list(shape)}")


def local_path(path: str) -> Path:
    """A path of this machine, also from a file:// URL. Raises GanpipeError for any other URL."""
    if "://" in path and not path.startswith("file://"):
        raise GanpipeError(
            f"data.path={path} is a URL, which this source cannot read: download it and set "
            f"data.path to the copy (folder, archive and parquet read URLs)"
        )
    return folder.local_path(path)


def identity(path: Path) -> str:
    """Size and time of change of a file, as a tag."""
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def open_unpacked(path: Path) -> IO[bytes]:
    """A file, or what is gzipped in it: its first bytes tell, not its name."""
    file = path.open("rb")
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not gzipped:
        return file
    file.close()
    return cast("IO[bytes]", gzip.open(path, "rb"))
