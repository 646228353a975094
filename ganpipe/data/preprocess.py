"""Preprocess: original bytes to uint8 shards at the training resolution."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.dataset import DESCRIPTION, LABELS
from ganpipe.data.engine import Engine, WorkerDied, open_engine
from ganpipe.data.manifest import SUMMARY, read_manifest
from ganpipe.data.pack import ShardReader
from ganpipe.data.pixels import Shape, all_to_pixels
from ganpipe.data.shards import cuts
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError
from ganpipe.events import Progress, progress
from ganpipe.files import read_json, replacing_folder, write_json
from ganpipe.params import ComputeParams, DataParams

if TYPE_CHECKING:
    import pandas as pd

CHUNK_FILES, CHUNK_BYTES = 64, 4 * 2**20
CHUNK_PIXELS = 16 * 2**20  # bytes of the outcome of a chunk, unless it is one image
# what preprocess reads of section data, as dvc.yaml lists it
PARAMETERS = ("resolution", "crop", "resize", "channels", "background", "max_pixels")


def preprocess(
    raw: Path,
    outputs: dict[str, Path],
    params: DataParams,
    compute: ComputeParams = ComputeParams(),  # noqa: B008 - frozen
) -> dict[str, int]:
    """Write one dataset folder for each split (`train`, `test`). Returns the image counts.

    Raises GanpipeError when data.resolution is 0 and the images differ in size.
    """
    manifest = read_manifest(raw)
    good = manifest[manifest["status"] == "ok"].reset_index(drop=True)
    summary = read_json(raw / SUMMARY)
    shape = _shape(good, summary, params)
    counts = {}
    with ExitStack() as stack:
        bar = stack.enter_context(progress("preprocess", "resizing", len(good)))
        # renamed when all are complete: never a new train beside an old test
        folders = {
            split: stack.enter_context(replacing_folder(output))
            for split, output in outputs.items()
        }
        engine = stack.enter_context(open_engine(compute))
        for split, folder in folders.items():
            rows = good[good["split"] == split].reset_index(drop=True)
            _write_split(rows, raw, folder, shape, summary["classes"], engine, bar)
            counts[split] = len(rows)
    return counts


def _shape(good: pd.DataFrame, summary: dict[str, Any], params: DataParams) -> Shape:
    grey = summary["grey"] if params.channels == "auto" else params.channels == "grey"
    own = (summary["resolution"],) * 2 if summary["resolution"] else None
    height, width = params.shape or own or native_size(good)
    return Shape(
        height,
        width,
        channels=1 if grey else 3,
        crop=params.crop,
        resize=params.resize,
        background=params.background,
        max_pixels=params.max_pixels,
    )


def native_size(good: pd.DataFrame) -> tuple[int, int]:
    """Height and width of images that are all of one size; GanpipeError otherwise."""
    shapes = zip(good["height"].tolist(), good["width"].tolist(), strict=True)
    sizes = Counter(shapes).most_common()
    (height, width), _ = sizes[0]
    if len(sizes) == 1:
        return int(height), int(width)
    examples = ", ".join(f"{h}x{w} ({count})" for (h, w), count in sizes[:4])
    raise GanpipeError(
        f"data.resolution=0 keeps the size of the images, but they are not all of one size: "
        f"{examples}; set the resolution to train at, for instance data.resolution=64"
    )


def _write_split(
    rows: pd.DataFrame,
    raw: Path,
    folder: Path,
    shape: Shape,
    classes: list[str],
    engine: Engine,
    bar: Progress,
) -> None:
    one = (shape.height, shape.width, shape.channels)
    images = _images(rows, raw, shape, engine)
    digest = hashlib.sha256()
    sized = ((path, int(np.prod(one))) for path in rows["path"].tolist())
    for number, (start, stop) in enumerate(cuts(sized)):
        with (folder / f"images-{number:05d}.npy").open("wb") as shard:
            header = {"descr": "|u1", "fortran_order": False, "shape": (stop - start, *one)}
            np.lib.format.write_array_header_1_0(shard, header)
            for _ in range(start, stop):
                pixels = next(images).data
                shard.write(pixels)
                digest.update(pixels)
                bar.advance()
    if classes:
        numbers = {name: number for number, name in enumerate(classes)}
        labels = np.array([numbers[label] for label in rows["label"]], dtype=np.int64)
        np.save(folder / LABELS, labels)
        digest.update(labels.tobytes())
    description = {
        "height": shape.height,
        "width": shape.width,
        "channels": shape.channels,
        "classes": classes,
        "crop": shape.crop,
        "resize": shape.resize,
        "background": shape.background,
        "count": len(rows),
        "sha256": digest.hexdigest(),
    }
    write_json(folder / DESCRIPTION, description)


def _images(
    rows: pd.DataFrame, raw: Path, shape: Shape, engine: Engine
) -> Iterator[NDArray[np.uint8]]:
    """The pixels of the given manifest rows, in their order: uint8 [height, width, channels]."""
    paths = rows["path"].tolist()
    payloads = zip(paths, read_payloads(raw, rows), strict=True)
    most = CHUNK_PIXELS // (shape.height * shape.width * shape.channels)
    chunks = _chunks(payloads, max(1, min(CHUNK_FILES, most)))
    for names, _, results in engine.map(partial(all_to_pixels, shape=shape), chunks):
        for name, pixels in zip(names, results, strict=True):
            if isinstance(pixels, WorkerDied):
                raise GanpipeError(
                    f"{shown(name)!r} ended every process that resized it (out of memory?): give "
                    f"the machine more, lower compute.processes, or take it out of the source"
                )
            yield pixels


def _chunks(
    payloads: Iterable[tuple[str, bytes]], most: int
) -> Iterator[tuple[list[str], list[bytes]]]:
    names: list[str] = []
    chunk: list[bytes] = []
    size = 0
    for name, payload in payloads:
        names.append(name)
        chunk.append(payload)
        size += len(payload)
        if len(chunk) == most or size >= CHUNK_BYTES:
            yield names, chunk
            names, chunk, size = [], [], 0
    if chunk:
        yield names, chunk


def read_payloads(raw: Path, rows: pd.DataFrame) -> Iterator[bytes]:
    """The packed bytes of the given manifest rows, in their order."""
    places = (rows[name].tolist() for name in ("shard", "offset", "bytes"))
    paths = {name: raw / name for name in rows["shard"].unique()}
    with ShardReader() as reader:
        for shard, offset, size in zip(*places, strict=True):
            yield reader.read(paths[shard], offset, size)
