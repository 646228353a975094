"""Which class and caption a file has: by its sub-folder, or by a table beside the images."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from ganpipe.data.sources.base import HIDDEN, Entry
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError

TABLES = ("labels.csv", "metadata.csv", "metadata.jsonl")
FILE_COLUMNS = ("file_name", "filename", "file", "path", "image")
LABEL_COLUMNS = ("label", "class", "category")
CAPTION_COLUMNS = ("caption", "text")


@dataclass(frozen=True)
class Table:
    """A label file: what it says about each file, by the file's path in the source."""

    path: str
    digest: str
    rows: dict[str, tuple[str, str]]
    """Path -> (label, caption); empty where the table says nothing."""
    has_labels: bool


def find_table(paths: Container[str], folders: Iterable[str], mode: str, where: str) -> str:
    """The label file among `paths` in one of the `folders` ("" or with a slash at the end).

    Returns "" when there is none, or when the mode does not ask for one. Raises GanpipeError
    for several, and for none where `mode` is `file`.
    """
    if mode not in ("auto", "file"):
        return ""
    found = [path for path in table_paths(folders) if path in paths]
    if len(found) > 1:
        raise GanpipeError(
            f"{where} holds {' and '.join(found)}: keep one of them, or set data.labels=folders"
        )
    if not found and mode == "file":
        raise GanpipeError(
            f"data.labels=file, but {where} holds no {', '.join(TABLES)}: put one beside the "
            f"images, or set data.labels to auto, folders or none"
        )
    return found[0] if found else ""


def table_paths(folders: Iterable[str]) -> list[str]:
    """Where label files are looked for: no images, so no entries."""
    return [folder + name for folder in dict.fromkeys(folders) for name in TABLES]


def read_table(payload: bytes, path: str, mode: str, where: str) -> Table:
    """Read a label file that lies at `path` in the source; file names in it are relative to it.

    Columns (`FILE_COLUMNS`, `LABEL_COLUMNS`, `CAPTION_COLUMNS`) are found by name, others are
    ignored. Raises GanpipeError that names file and line where it cannot be understood.
    """
    shown = f"{where}: {path}"
    try:
        text = payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = payload[: error.start].count(b"\n") + 1
        raise GanpipeError(f"{shown}, line {line}: is no UTF-8 text: save it as UTF-8") from None
    records = _json_lines(text, shown) if path.endswith(".jsonl") else _csv_rows(text, shown)
    folder = path[: path.rfind("/") + 1]
    rows: dict[str, tuple[str, str]] = {}
    has_labels = False
    for line, record in records:
        name = _cell(record, FILE_COLUMNS, shown, line)
        if not name:
            raise GanpipeError(
                f"{shown}, line {line}: has no file name; the column is named "
                f"{', '.join(FILE_COLUMNS)} (data.labels=folders does not look at this file)"
            )
        has_labels = has_labels or any(key in record for key in LABEL_COLUMNS)
        said = (
            _cell(record, LABEL_COLUMNS, shown, line),
            _cell(record, CAPTION_COLUMNS, shown, line),
        )
        file = folder + name.replace("\\", "/").removeprefix("./")
        if rows.setdefault(file, said) != said:
            raise GanpipeError(
                f"{shown}, line {line}: says {said} of {name!r}, an earlier line {rows[file]}: "
                f"keep one of them"
            )
    if mode == "file" and not has_labels:
        raise GanpipeError(
            f"{shown} has no column {', '.join(LABEL_COLUMNS)}, but data.labels=file: add it, or "
            f"set data.labels to auto, folders or none"
        )
    return Table(path, hashlib.sha256(payload).hexdigest(), rows, has_labels)


def labelled(
    entries: Iterable[Entry], mode: str, table: Table | None = None, root: str = ""
) -> list[Entry]:
    """The entries with classes and captions, and those that only the table knows; by path.

    `mode` is data.labels. `root` is the folder ("" or with a slash at the end) whose sub-folders
    are classes. Files without a class get the status `no-label` where the mode, or a table with
    labels, asks for one; rows of the table without a file become entries that are `missing`.
    """
    rows = table.rows if table else {}
    by_table = table is not None and table.has_labels
    by_folder = not by_table and mode != "none"
    must = by_table or mode == "folders"
    result = []
    seen = set()
    for entry in entries:
        path, caption, label = entry.path, "", ""
        if by_folder and path.startswith(root) and entry.status not in ("unsafe-name", HIDDEN):
            end = path.find("/", len(root))
            label = path[len(root) : end] if end >= 0 else ""
        if table is not None:
            seen.add(path)
            said, caption = rows.get(path, ("", ""))
            label = said if by_table else label
        status = entry.status or ("no-label" if must and not label else "")
        if label or caption or status is not entry.status:
            entry = Entry(path, entry.size, entry.tag, label, entry.split, caption, status)
        result.append(entry)
    gone = [Entry(path, 0, "") for path in rows if path not in seen]
    if table is not None and rows and len(gone) == len(rows) and seen:
        raise GanpipeError(
            f"{table.path} names {len(rows)} files and none of them is here: it says "
            f"{shown(next(iter(rows)))!r}, the source has {shown(min(seen))!r}. Write the paths "
            f"relative to {table.path}, with their suffixes, or set data.labels=folders"
        )
    for entry in gone:
        said, caption = rows[entry.path]
        result.append(entry._replace(label=said, caption=caption, status="missing"))
    return sorted(result, key=itemgetter(0))


def with_table(digest: str, table: Table | None) -> str:
    """A digest of a listing that also changes with every byte of the label file."""
    return hashlib.sha256(f"{digest}{table.digest}".encode()).hexdigest() if table else digest


def _csv_rows(text: str, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)  # spreadsheets of some countries write semicolons
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    names: list[str] = []
    try:
        for row in reader:
            if not row:
                continue
            if not names:
                names = [name.strip().lower() for name in row]
                if not set(names) & set(FILE_COLUMNS):
                    raise GanpipeError(
                        f"{shown}, line {reader.line_num}: no column is named "
                        f"{', '.join(FILE_COLUMNS)} but {', '.join(names)}: name the one with the "
                        f"files (data.labels=folders does not look at this file)"
                    )
            elif len(row) != len(names):
                raise GanpipeError(
                    f"{shown}, line {reader.line_num}: has {len(row)} columns, the header "
                    f"{len(names)}: put quotes around text with {separator!r} in it"
                )
            else:
                yield reader.line_num, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise GanpipeError(f"{shown}, line {reader.line_num}: is no CSV ({error})") from None
    if not names:
        raise GanpipeError(f"{shown} is empty: write a header and a line for each image")


def _json_lines(text: str, shown: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, written in enumerate(text.split("\n"), start=1):
        if not written.strip():
            continue
        try:
            record = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise GanpipeError(f"{shown}, line {line}: is no JSON ({error})") from None
        if not isinstance(record, dict):
            raise GanpipeError(f'{shown}, line {line}: is no object like {{"file_name": "1.png"}}')
        yield line, {key.strip().lower(): value for key, value in record.items()}


def _cell(record: dict[str, Any], columns: tuple[str, ...], shown: str, line: int) -> str:
    """The first of the columns that the record has, as text; empty when it has none."""
    for name in columns:
        value = record.get(name)
        if value is None:
            continue
        if not isinstance(value, str | int | float):
            raise GanpipeError(f"{shown}, line {line}: {name} is no text or number but {value!r}")
        text = str(value).strip()
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise GanpipeError(f"{shown}, line {line}: {name}={value!r} is half a character")
        return text
    return ""
