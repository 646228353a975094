"""The files of each format: those of a part of the images, and those about all of them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import images as pictures
from ganpipe.data.dataset import LABELS
from ganpipe.generation.request import Request

GRID, METADATA = "grid.png", "metadata.jsonl"
GRID_IMAGES = 64
PART_BYTES = 32 * 2**20  # of pixels: a kill may lose two parts, and memory holds them
MOST_ROWS, FILTERED_ROWS = 16_384, 1024
ROW_GROUP = 256  # rows that a reader of Parquet takes at once
UNLABELLED = "generated"  # one class for all keeps grid.png, which has none, out of an ingest


def rows_of(request: Request) -> int:
    """Images in a part: at least a grid's, and whole rounds where nothing is dropped."""
    config = request.generator.config
    size = config.image_height * config.image_width * config.image_channels
    # to judge a sample takes far longer than to make it
    most = MOST_ROWS if request.params.filter == "none" else FILTERED_ROWS
    return max(GRID_IMAGES, min(most, PART_BYTES // size // GRID_IMAGES * GRID_IMAGES))


def part_files(
    request: Request, number: int, first: int, rounds: list[NDArray[np.uint8]], labels: list[int]
) -> dict[str, bytes]:
    """The files of part `number`, whose images begin at image `first`: of each round uint8
    [n, H, W, C].

    `labels` are class numbers, or empty. The first part brings the grid.
    """
    files = {}
    if request.params.format == "shards":
        files[f"images-{number:05d}.npy"] = _npy(rounds)
    elif request.params.format == "parquet":
        files[f"images-{number:05d}.parquet"] = _parquet(request, first, chain(*rounds), labels)
    else:
        for place, image in enumerate(chain(*rounds), start=first):
            files[file_name(request, place)] = pictures.png_bytes(image)
    if number == 0:
        shown = np.stack(list(islice(chain(*rounds), GRID_IMAGES)))
        files[GRID] = pictures.png_bytes(pictures.grid(shown))
    return files


def file_name(request: Request, place: int) -> str:
    """The PNG file of an image."""
    return f"{place:0{max(5, len(str(request.params.n - 1)))}}.png"


def _npy(rounds: list[NDArray[np.uint8]]) -> bytes:
    """All rounds as one .npy file, with one copy: each takes its time from the network."""
    shape = (sum(len(images) for images in rounds), *rounds[0].shape[1:])
    out = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return b"".join([out.getvalue(), *(np.ascontiguousarray(images).data for images in rounds)])


def _parquet(
    request: Request, first: int, images: Iterable[NDArray[np.uint8]], labels: list[int]
) -> bytes:
    """Columns as Hugging Face's `datasets` writes them: image {bytes, path}, label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"bytes": pictures.png_bytes(image), "path": file_name(request, place)}
        for place, image in enumerate(images, start=first)
    ]
    columns = {"image": pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if labels:
        columns["label"] = pa.array(labels, pa.int64())
        features["label"] = {"names": request.generator.classes, "_type": "ClassLabel"}
    told = json.dumps({"info": {"features": features}})
    table = pa.table(columns).replace_schema_metadata({"huggingface": told})
    out = io.BytesIO()
    # PNG is compressed already
    pq.write_table(table, out, row_group_size=ROW_GROUP, compression="none")
    return out.getvalue()


def last_files(
    request: Request, notes: Iterable[dict[str, Any]]
) -> Iterator[tuple[str, Iterable[bytes]]]:
    """The files about all images, from the notes on the parts: names and contents."""
    labelled = bool(request.generator.classes)
    if request.params.format == "png":
        yield METADATA, _metadata(request, notes)
    elif request.params.format == "shards" and labelled:
        yield LABELS, _labels(request.params.n, notes)


def _metadata(request: Request, notes: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """A line for each PNG file, as Hugging Face and ganpipe's ingest read classes from."""
    place = 0
    for note in notes:
        labels = note["labels"] or [None] * len(note["numbers"])
        for number, label in zip(note["numbers"], labels, strict=True):
            name = file_name(request, place)
            row = {
                "file_name": name,
                "label": UNLABELLED if label is None else request.generator.classes[label],
                "number": number,
                "sha256": note["files"][name][1],
            }
            yield f"{json.dumps(row, ensure_ascii=False)}\n".encode()
            place += 1


def _labels(count: int, notes: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """labels.npy, int64 [n]."""
    out = io.BytesIO()
    header = {"descr": "<i8", "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(out, header)
    yield out.getvalue()
    for note in notes:
        yield np.array(note["labels"], dtype="<i8").tobytes()


def dataset_json(request: Request, sha256: str) -> bytes:
    """dataset.json as ganpipe.data.dataset reads it; `sha256` stands for the contents."""
    config, params = request.generator.config, request.params
    description = {
        "height": config.image_height,
        "width": config.image_width,
        "channels": config.image_channels,
        "classes": request.generator.classes,
        "generated_by": request.generator_sha256,
        "count": params.n,
        "sha256": sha256,
    }
    return (json.dumps(description, indent=2) + "\n").encode()


def digest(files: dict[str, str]) -> str:
    """sha256 over names and hashes of files, in the order of their names."""
    lines = "".join(f"{name} {files[name]}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()
