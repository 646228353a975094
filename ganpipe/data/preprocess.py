"""Preprocess: original bytes to uint8 shards at the training resolution."""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganpipe.data.decode import open_image, upright
from ganpipe.data.ingest import SUMMARY, read_manifest
from ganpipe.data.shards import cuts
from ganpipe.errors import GanpipeError
from ganpipe.events import progress
from ganpipe.files import read_json, replacing_folder, write_json
from ganpipe.params import DataParams

if TYPE_CHECKING:
    import pandas as pd

    from ganpipe.events import Progress

DESCRIPTION = "dataset.json"
LABELS = "labels.npy"


def preprocess(raw: Path, outputs: dict[str, Path], params: DataParams) -> dict[str, int]:
    """Write one dataset folder for each split (`train`, `test`). Returns the image counts.

    Raises GanpipeError when data.resolution is 0 and the images differ in size.
    """
    manifest = read_manifest(raw)
    good = manifest[manifest["status"] == "ok"].reset_index(drop=True)
    summary = read_json(raw / SUMMARY)
    side = params.resolution or summary["resolution"] or native_size(good)
    grey = summary["grey"] if params.channels == "auto" else params.channels == "grey"
    how = {
        "height": side,
        "width": side,
        "channels": 1 if grey else 3,
        "classes": summary["classes"],
        "crop": "center",
        "resize": "lanczos",
    }
    counts = {}
    with progress("preprocess", "resizing images", len(good)) as bar:
        done = 0
        for split, output in outputs.items():
            rows = good[good["split"] == split].reset_index(drop=True)
            counts[split] = len(rows)
            _write_split(rows, raw, output, how, bar, done)
            done += len(rows)
    return counts


def native_size(good: pd.DataFrame) -> int:
    """Height and width of images that are all of one square size; GanpipeError otherwise."""
    shapes = zip(good["height"].tolist(), good["width"].tolist(), strict=True)
    sizes = Counter(shapes).most_common()
    (height, width), _ = sizes[0]
    if len(sizes) == 1 and height == width:
        return int(height)
    examples = ", ".join(f"{h}x{w} ({count})" for (h, w), count in sizes[:4])
    raise GanpipeError(
        f"data.resolution=0 keeps the size of the images, but they are not all of one square "
        f"size: {examples}; set the resolution to train at, for instance data.resolution=64"
    )


def _write_split(
    rows: pd.DataFrame,
    raw: Path,
    output: Path,
    how: dict[str, Any],
    bar: Progress,
    done: int,
) -> None:
    shape = (how["height"], how["width"], how["channels"])
    payloads = read_payloads(raw, rows)
    pixels = hashlib.sha256()
    with replacing_folder(output) as folder:
        each = int(np.prod(shape))
        for number, (start, stop) in enumerate(cuts((path, each) for path in rows["path"])):
            shard = np.lib.format.open_memmap(
                folder / f"images-{number:05d}.npy", "w+", np.uint8, (stop - start, *shape)
            )
            for place in range(stop - start):
                shard[place] = to_pixels(next(payloads), how["height"], how["channels"])
                bar.update(done + start + place + 1)
            shard.flush()
            pixels.update(shard.data)
        labels = _labels(rows, how["classes"])
        if labels is not None:
            np.save(folder / LABELS, labels)
            pixels.update(labels.tobytes())
        description = {**how, "count": len(rows), "sha256": pixels.hexdigest()}
        write_json(folder / DESCRIPTION, description)


def _labels(rows: pd.DataFrame, classes: list[str]) -> NDArray[np.int64] | None:
    if not classes:
        return None
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[label] for label in rows["label"]], dtype=np.int64)


def read_payloads(raw: Path, rows: pd.DataFrame) -> Iterator[bytes]:
    """The packed bytes of the given manifest rows, in their order (which is the shards')."""
    wanted = iter(rows["path"].tolist())
    path = next(wanted, None)
    for name in rows["shard"].drop_duplicates().tolist():
        with tarfile.open(raw / name) as tar:
            for member in tar:
                if member.name == path:
                    file = tar.extractfile(member)
                    assert file is not None  # noqa: S101 - regular files only, written by ingest
                    yield file.read()
                    path = next(wanted, None)


def to_pixels(payload: bytes, side: int, channels: int) -> NDArray[np.uint8]:
    """Decode an image file to uint8 [side, side, channels]: upright, centre crop, Lanczos.

    Lanczos in PIL is antialiased, and the result depends on this image alone.
    """
    with open_image(payload) as image:
        flat = upright(image, "L" if channels == 1 else "RGB")
        edge = min(flat.size)
        left, top = (flat.width - edge) // 2, (flat.height - edge) // 2
        box = (left, top, left + edge, top + edge)
        resized = flat.resize((side, side), Image.Resampling.LANCZOS, box=box)
        return np.asarray(resized, dtype=np.uint8).reshape(side, side, channels)
