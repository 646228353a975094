"""Arrays in NumPy's format, in an .npy file or inside an .npz: described, never unpickled."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources.arrays import check_size, identity, reading
from ganpipe.errors import GanpipeError

REMEDY = "write it again with numpy.savez or numpy.save"


@dataclass(frozen=True)
class Stored:
    """An array in .npy format, alone or in an .npz, not read yet."""

    name: str
    """For messages."""
    open: Callable[[], IO[bytes]]
    size: int
    """Bytes on the disk."""
    tag: str
    path: Path | None
    """The .npy file, which can be mapped into memory; None inside an .npz."""


def arrays_in(path: Path) -> dict[str, Stored]:
    """What a file holds, by name; the only array of an .npy is `images`. Reads no array.

    Raises GanpipeError when the file is neither.
    """
    with reading(path, REMEDY):
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if not zipped:
            opened = partial(_open, path)
            return {"images": Stored(str(path), opened, path.stat().st_size, identity(path), path)}
        found = {}
        with _zip(path) as archive:
            for info in archive.infolist():
                key = info.filename.removesuffix(".npy")
                opened = partial(_open, path, info.filename)
                # of the content alone: copies and new times of change do not matter
                tag = f"{info.CRC:08x}-{info.file_size}"
                found[key] = Stored(f"{key} in {path}", opened, info.compress_size, tag, None)
        return found


def _open(path: Path, name: str = "") -> IO[bytes]:
    """An .npy file, or a member of an .npz."""
    if not name:
        return path.open("rb")
    with _zip(path) as archive:
        return archive.open(name)  # keeps the file open beyond the archive


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (NotImplementedError, RuntimeError) as error:  # an odd format, a password
        raise ValueError(error) from None


def header(array: Stored) -> tuple[int, tuple[int, ...], np.dtype[Any], bool]:
    """Where the values start, in bytes, their shape and type, and whether in column-major order."""
    with reading(array.name, REMEDY), array.open() as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"format {version}")
        parts = np.lib.format
        read = parts.read_array_header_1_0 if version == (1, 0) else parts.read_array_header_2_0
        try:
            shape, column_major, dtype = read(file)
        except TokenError as error:  # from NumPy's way of reading headers of Python 2
            raise ValueError(error) from None
        if dtype.hasobject:
            raise GanpipeError(
                f"{array.name} holds Python objects, which are never unpickled: convert it to "
                f"uint8 (images) or to numbers or text (labels)"
            )
        check_size(shape, dtype.itemsize, array.size)
        return file.tell(), shape, dtype, column_major


def whole(array: Stored) -> NDArray[Any]:
    """All values: mapped into memory where that is possible, else read."""
    values: NDArray[Any]
    if array.path:
        values = np.load(array.path, mmap_mode="r", allow_pickle=False)
        return values
    with array.open() as file:
        values = np.lib.format.read_array(file, allow_pickle=False)
    return values
