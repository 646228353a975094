"""Parquet files with a column of image bytes, like those of Hugging Face's data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from pathlib import PurePosixPath
from typing import Any

from ganpipe.data.sources.arrays import in_numeric_order, number_of
from ganpipe.data.sources.base import LARGEST_FILE, Entry, digest_of
from ganpipe.data.sources.parquet_files import ParquetFile, batches, find_files
from ganpipe.data.sources.parquet_layout import Layout, layout_of
from ganpipe.errors import GanpipeError

TEXTS = 4096  # rows at a time where only labels, captions and names are read
IMAGES = 16  # rows at a time where images are
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


class Parquet:
    """Images in Parquet files: one, a folder of them, or a URL of either.

    Columns: image, img or picture (or the only one of bytes), of bytes or {bytes, path}; label,
    labels, class or category; caption or text. Classes that are numbers are named as Hugging
    Face's metadata in the file say. File names that start with train and test, or folders of
    these names, give the published split. Memory is flat: about five pages of a file, which hold up
    to 1,024 rows each where pyarrow or pandas wrote them without smaller groups of rows.
    """

    resolution = 0

    def __init__(self, path: str) -> None:
        self.path = path

    @cached_property
    def files(self) -> dict[str, ParquetFile]:
        return {file.name: file for file in find_files(self.path)}

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        return {name: layout_of(file) for name, file in self.files.items()}

    @cached_property
    def entries(self) -> Sequence[Entry]:
        found = [
            entry
            for name, file in self.files.items()
            for entry in _entries(file, self.layouts[name])
        ]
        return sorted(found, key=attrgetter("path"))

    @property
    def classes(self) -> list[str]:
        named = {layout.classes: name for name, layout in self.layouts.items()}
        if len(named) > 1:
            first, second, *_ = named.values()
            raise GanpipeError(
                f"{first} and {second} below data.path={self.path} name different classes: "
                f"write them again with the same features"
            )
        return list(next(iter(named))) or in_numeric_order(entry.label for entry in self.entries)

    def fingerprint(self) -> dict[str, Any]:
        files = [Entry(file.name, file.size, file.tag) for file in self.files.values()]
        return {
            "source": "parquet",
            "count": len(files),
            "bytes": sum(file.size for file in files),
            "digest": digest_of(files),
        }

    def read(self, wanted: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
        chosen: dict[str, dict[int, Entry]] = {}
        for entry in wanted:
            chosen.setdefault(entry.path.rpartition("/")[0], {})[number_of(entry)] = entry
        for name in sorted(chosen):
            yield from _images(self.files[name], self.layouts[name], chosen[name])


def _entries(file: ParquetFile, layout: Layout) -> Iterator[Entry]:
    """One entry for each row; the images are not read."""
    columns = [name for name in (layout.name, layout.label, layout.caption) if name]
    if not columns:
        for number in range(layout.rows):
            yield Entry(f"{file.name}/{number:08d}", layout.mean_size, file.tag, split=file.split)
        return
    for first, arrays in batches(file, columns, TEXTS):
        values = dict(zip(columns, (array.to_pylist() for array in arrays), strict=True))
        for number in range(len(arrays[0])):
            row = {name: values[name][number] for name in columns}
            yield Entry(
                f"{file.name}/{first + number:08d}{_suffix(row.get(layout.name))}",
                layout.mean_size,
                file.tag,
                _label(row.get(layout.label), layout, f"row {first + number} of {file.shown}"),
                file.split,
                str(row.get(layout.caption) or ""),
            )


def _suffix(name: str | None) -> str:
    """That of the image's former name, unless it is an odd one."""
    suffix = PurePosixPath(name or "").suffix
    return suffix if SUFFIX.fullmatch(suffix) else ""


def _label(value: Any, layout: Layout, place: str) -> str:
    """The name of a class; empty for none, which Hugging Face writes as -1."""
    if value is None or (layout.classes and value == -1):
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise GanpipeError(
            f"{place} has {layout.label}={value!r}: classes are whole numbers or text; rename the "
            f"column if it holds something else"
        )
    if not layout.classes:
        return str(value)
    if not 0 <= value < len(layout.classes):
        raise GanpipeError(
            f"{place} has {layout.label}={value}, but {len(layout.classes)} classes are named: "
            f"write it again with the right names"
        )
    return layout.classes[value]


def _images(
    file: ParquetFile, layout: Layout, wanted: dict[int, Entry]
) -> Iterator[tuple[Entry, bytes]]:
    for first, (images,) in batches(file, [layout.image], IMAGES, sorted(wanted)):
        for number in range(len(images)):
            entry = wanted.get(first + number)
            if entry is None:
                continue
            payload = images[number].as_py()
            if payload is None:
                yield entry._replace(status="not-readable"), b""
            elif len(payload) > LARGEST_FILE:
                yield entry._replace(status="too-large"), b""
            else:
                yield entry, payload
