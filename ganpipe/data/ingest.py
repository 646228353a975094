"""Ingest: look at every file of a source, pack the good ones, write down all of them."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ganpipe.data.decode import GREY_MODES, open_image, upright
from ganpipe.data.shards import cuts
from ganpipe.data.sources import Item, Source
from ganpipe.errors import GanpipeError
from ganpipe.events import progress
from ganpipe.files import replacing_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "manifest.parquet"
SUMMARY = "raw.json"
COLUMNS = [
    "path",
    "sha256",
    "pixels_sha256",
    "bytes",
    "format",
    "width",
    "height",
    "mode",
    "label",
    "split",
    "status",
    "shard",
]


def ingest(source: Source, output: Path, test_fraction: float) -> dict[str, Any]:
    """Write data/raw: tar shards of original bytes, manifest.parquet and raw.json.

    Every file of the source has a row in the manifest; those whose status is not `ok` are set
    aside, not packed. Returns the summary. Raises GanpipeError when too little is left.
    """
    with replacing_folder(output) as folder:
        spool = folder / "spool"
        rows = list(_examine(source, spool, test_fraction))
        summary = {**_summarise(rows, source.classes), "resolution": source.resolution}
        _pack(rows, spool, folder)
        spool.unlink()
        _write_manifest(rows, folder / MANIFEST)
        write_json(folder / SUMMARY, summary)
    return summary


def _examine(source: Source, spool: Path, test_fraction: float) -> Iterator[dict[str, Any]]:
    """One manifest row for each file; the good ones' bytes go to the spool, one after another."""
    with progress("ingest", "reading images", len(source)) as bar, spool.open("wb") as out:
        for number, item in enumerate(source, start=1):
            row = examine(item)
            row["split"] = item.split or _split(row["pixels_sha256"], test_fraction)
            if row["status"] == "ok":
                out.write(item.payload)
            yield row
            bar.update(number)


def examine(item: Item) -> dict[str, Any]:
    """The manifest row of one file: what it is, and whether it can be used."""
    row: dict[str, Any] = {
        "path": item.path,
        "sha256": hashlib.sha256(item.payload).hexdigest(),
        "pixels_sha256": "",
        "bytes": len(item.payload),
        "format": "",
        "width": 0,
        "height": 0,
        "mode": "",
        "label": item.label,
        "split": item.split,
        "status": item.status,
        "shard": "",
    }
    if not item.status:
        row.update(_decode(item.payload))
    return row


def _decode(payload: bytes) -> dict[str, Any]:
    """Format, size, mode, hash of the pixels and status of a file, found by decoding all of it."""
    found: dict[str, Any] = {"status": "not-an-image"}
    try:
        with open_image(payload) as image:
            found = {
                "format": image.format or "",
                "width": image.width,
                "height": image.height,
                "mode": image.mode,
                "status": "truncated",
            }
            pixels = upright(image, "RGB")
            digest = hashlib.sha256(f"{pixels.width}x{pixels.height}".encode())
            digest.update(pixels.tobytes())
            found |= {"pixels_sha256": digest.hexdigest(), "status": "ok"}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        found["status"] = "too-large"
    except Exception:  # noqa: BLE001 - decoders raise anything for hostile bytes; the status tells
        return found
    return found


def _split(content_sha256: str, test_fraction: float) -> str:
    """A side chosen by the pixels, so that an image never changes sides, however it is stored."""
    if not content_sha256:
        return ""
    return "test" if int(content_sha256[:8], 16) < test_fraction * 2**32 else "train"


def _summarise(rows: list[dict[str, Any]], classes: list[str]) -> dict[str, Any]:
    """Counts by status, split and class; raises GanpipeError when there is too little to use."""
    statuses: dict[str, int] = {}
    for row in rows:
        statuses[row["status"]] = statuses.get(row["status"], 0) + 1
    good = [row for row in rows if row["status"] == "ok"]
    if not good:
        raise GanpipeError(
            f"none of the {len(rows)} files is a usable image ({_words(statuses)}): "
            f"the first is {rows[0]['path']!r}; check data.path"
        )
    splits = {side: sum(row["split"] == side for row in good) for side in ("train", "test")}
    for side, count in splits.items():
        if count < 2:
            raise GanpipeError(
                f"{len(good)} usable images leave {count} for {side}, at least 2 are needed: "
                f"add images, or change data.test_fraction"
            )
    present = {row["label"] for row in good}
    return {
        "count": len(good),
        "files": len(rows),
        "statuses": dict(sorted(statuses.items())),
        "splits": splits,
        "classes": [name for name in classes if name in present],
        "grey": all(row["mode"] in GREY_MODES for row in good),
    }


def _words(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))


def _pack(rows: list[dict[str, Any]], spool: Path, folder: Path) -> None:
    """Move the spooled bytes into tar shards and note each file's shard in its row."""
    good = [row for row in rows if row["status"] == "ok"]
    ranges = cuts((row["path"], row["bytes"]) for row in good)
    with spool.open("rb") as bytes_in_order:
        for number, (start, stop) in enumerate(ranges):
            name = f"raw-{number:05d}.tar"
            with tarfile.open(folder / name, "w", format=tarfile.PAX_FORMAT) as tar:
                for row in good[start:stop]:
                    member = tarfile.TarInfo(row["path"])
                    member.size = row["bytes"]
                    tar.addfile(member, bytes_in_order)
                    row["shard"] = name


def _write_manifest(rows: list[dict[str, Any]], path: Path) -> None:
    import pandas as pd

    pd.DataFrame(rows, columns=COLUMNS).to_parquet(path, index=False)


def read_manifest(folder: Path) -> pd.DataFrame:
    """The manifest of data/raw: one row for each file of the source, ordered by path."""
    import pandas as pd

    return pd.read_parquet(folder / MANIFEST)


def set_aside(folder: Path, limit: int = 10) -> list[str]:
    """`path: status` of the first files that were set aside, for people."""
    manifest = read_manifest(folder)
    bad = manifest[manifest["status"] != "ok"]
    lines = [f"{row.path}: {row.status}" for row in bad.head(limit).itertuples()]
    if len(bad) > limit:
        lines.append(f"... and {len(bad) - limit} more")
    return lines
