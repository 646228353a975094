"""Which Parquet files a path or URL holds, and their rows."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

from ganpipe.data.sources.arrays import identity
from ganpipe.data.sources.base import HIDDEN
from ganpipe.data.sources.folder import listed, local_path
from ganpipe.data.sources.store import Store
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIX = ".parquet"
SIDE = re.compile(r"(train|test)(?:ing)?(?![a-z])|(val)(?:id|idation)?(?![a-z])", re.IGNORECASE)
SPLITS = {"train": "train", "val": "train", "test": "test"}
BUFFER = 2**20  # bytes of a column read at a time


@dataclass(frozen=True)
class ParquetFile:
    """A file as its folder lists it."""

    name: str
    """Path below data.path."""
    shown: str
    """For messages."""
    open: Callable[[], BinaryIO]
    size: int
    tag: str
    split: str = ""


def find_files(path: str) -> list[ParquetFile]:
    """The Parquet files at a path or below it, by name; hidden ones are left out.

    Raises GanpipeError when there is none, or the place cannot be reached.
    """
    remote = "://" in path and not path.startswith("file://")
    files = _remote_files(path) if remote else _local_files(path)
    if not files:
        raise GanpipeError(f"data.path={path} holds no .parquet file: set it to one, or a folder")
    sides = [side_of(file.name) for file in files]
    if not {"train", "test"} <= set(sides):
        return files
    return [replace(file, split=side) for file, side in zip(files, sides, strict=True)]


def _local_files(path: str) -> list[ParquetFile]:
    place = local_path(path)
    if place.is_file():
        names = {place.name: place}
    elif place.is_dir():
        entries, odd = listed(place)
        names = {
            entry.path: place / os.fsdecode(odd.get(entry.path, entry.path.encode()))
            for entry in entries
            if entry.path.lower().endswith(SUFFIX) and entry.status != HIDDEN
        }
    else:
        raise GanpipeError(
            f"data.path={path} does not exist: set data.path to a .parquet file or a folder of "
            f"them (its absolute path; now in {Path.cwd()})"
        )
    found = []
    for name, file in names.items():
        try:  # through links, which is how Hugging Face's cache keeps its files
            size, tag = file.stat().st_size, identity(file)
        except OSError as error:
            raise GanpipeError(f"{file} cannot be read ({error.strerror}): remove it") from None
        found.append(ParquetFile(name, str(file), partial(_open, file), size, tag))
    return found


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _remote_files(url: str) -> list[ParquetFile]:
    store = Store(url)
    # some programs write a folder of this name, with parts in it
    if urlsplit(url).path.lower().endswith(SUFFIX) and store.fs.isfile(store.place):
        size, tag = store.info(store.place)
        name = PurePosixPath(urlsplit(url).path).name
        return [
            ParquetFile(name, store.shown, partial(store.open, store.place, False), size or 0, tag)
        ]
    entries, names = store.listed()
    return [
        ParquetFile(
            entry.path,
            f"{entry.path} below {store.shown}",
            partial(store.open, names[entry.path], False),
            entry.size,
            entry.tag,
        )
        for entry in entries
        if entry.path.lower().endswith(SUFFIX) and entry.status != HIDDEN
    ]


def side_of(name: str) -> str:
    """The side that a file's name starts with, or its folder's is; empty for none.

    Images for validation are trained on: they are not those of the final measurement.
    """
    *folders, file = name.split("/")
    starts, inside = SIDE.match(file), SIDE.fullmatch(folders[-1]) if folders else None
    found = starts or inside
    return SPLITS[(found[1] or found[2]).lower()] if found else ""


@contextmanager
def opened_file(file: ParquetFile) -> Iterator[pq.ParquetFile]:
    """The open file. Raises GanpipeError that names it when it, or a part of it, is damaged."""
    import pyarrow.parquet as pq

    try:
        with (
            file.open() as content,
            # a buffer and no reading ahead: one row group may be as large as the whole file
            pq.ParquetFile(content, pre_buffer=False, buffer_size=BUFFER) as opened,
        ):
            yield opened
    except GanpipeError:
        raise
    except Exception as error:  # noqa: BLE001 - so do pyarrow and the protocols
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise GanpipeError(
            f"{file.shown} cannot be read as Parquet ({reason}): download or write it again"
        ) from None


def batches(
    file: ParquetFile, columns: Sequence[str], rows: int, wanted: Sequence[int] | None = None
) -> Iterator[tuple[int, list[pa.Array]]]:
    """Some columns, at most so many rows at a time, each time with the number of the first row.

    Groups without any of the `wanted` rows (ascending; all by default) are left out.
    """
    with opened_file(file) as opened:
        first = 0
        for group in range(opened.num_row_groups):
            end = first + opened.metadata.row_group(group).num_rows
            if wanted is None or bisect_left(wanted, first) < bisect_left(wanted, end):
                row = first
                for batch in opened.iter_batches(rows, row_groups=[group], columns=list(columns)):
                    yield row, [_column(batch, column) for column in columns]
                    row += batch.num_rows
            first = end


def _column(batch: pa.RecordBatch, column: str) -> pa.Array:
    """A column, or a part of one; flattening makes a part of nothing nothing."""
    if column in batch.schema.names:
        values = batch.column(column)
    else:
        name, _, part = column.rpartition(".")
        structure = batch.column(name)
        values = structure.flatten()[structure.type.get_field_index(part)]
    values.validate(full=True)  # else damaged text fails later, where the file is not known
    return values
