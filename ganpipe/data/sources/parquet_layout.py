"""What the columns of a Parquet file mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ganpipe.data.sources.parquet_files import ParquetFile, opened_file
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    import pyarrow as pa

IMAGES = ("image", "img", "picture")
LABELS = ("label", "labels", "class", "category")
CAPTIONS = ("caption", "text")


@dataclass(frozen=True)
class Layout:
    """What a file holds, and what its columns mean; names are empty where there is none."""

    rows: int
    mean_size: int
    """Bytes of a row in the file."""
    image: str
    """Dotted where the bytes are part of a structure."""
    name: str
    label: str
    caption: str
    classes: tuple[str, ...]
    """Names of the numbers in `label`, where the file says them."""


def layout_of(file: ParquetFile) -> Layout:
    """What a file's end says of it. Raises GanpipeError when no column is of images."""
    with opened_file(file) as opened:
        schema, rows = opened.schema_arrow, opened.metadata.num_rows
    found = {field.name.lower(): field for field in schema}
    images = [field for field in schema if _bytes_in(field.type) is not None]
    named = [found[name] for name in IMAGES if name in found and found[name] in images]
    if not named and len(images) != 1:
        columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
        raise GanpipeError(
            f"{file.shown} has no column that must be the one of image bytes: {columns}; "
            f"name it image"
        )
    field = (named or images)[0]
    parts = [part.name for part in field.type] if _is_struct(field.type) else []
    image = f"{field.name}.bytes" if parts else field.name
    label = next((found[name].name for name in LABELS if name in found), "")
    return Layout(
        rows=rows,
        # only the file's: pyarrow 25 aborts on damaged descriptions of columns
        mean_size=file.size // max(1, rows),
        image=image,
        name=f"{field.name}.path" if "path" in parts else "",
        label=label,
        caption=next((found[name].name for name in CAPTIONS if name in found), ""),
        classes=_class_names(schema, label),
    )


def _is_struct(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind))


def _bytes_in(kind: pa.DataType) -> pa.DataType | None:
    """The type of the bytes that a column of this type holds, if it holds any."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return _bytes_in(kind.field(index).type) if index >= 0 else None
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return kind if any(fits(kind) for fits in kinds) else None


def _class_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """Names of the classes, from the metadata that Hugging Face's library writes."""
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])
        names = described["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):  # no such metadata, or the label has no names
        return ()
    return tuple(str(name) for name in names)
