"""data/raw/manifest.parquet: one row for every file of a source, used or set aside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe.data.sources.base import HIDDEN
from ganpipe.data.words import listed, shown
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    import pandas as pd
    from pandera.pandas import DataFrameSchema

MANIFEST = "manifest.parquet"
SUMMARY = "raw.json"  # beside it: counts by status, split and class
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation"}

# status -> what it means, for people
STATUSES = {
    "ok": "used",
    "not-an-image": "no image format that is read here",
    "truncated": "an image whose pixels are damaged or missing",
    "too-small": "a side is below data.min_side",
    "too-large": "more pixels than data.max_pixels, more bytes than half a GiB, a JPEG of more "
    "than 200 scans, or an archive member that unfolds a thousand-fold",
    "duplicate-of": "the same pixels as an earlier image",
    "near-duplicate-of": "looks like an earlier image (data.near_duplicates)",
    "animated": "several frames",
    "hidden": "starts with a dot, or is litter of an operating system: not looked at",
    "beside-archives": "lies beside the archives that are read",
    "no-label": "without a class where data.labels asks for one",
    "symlink": "a link, which is not followed",
    "not-a-file": "a pipe, device or socket",
    "unsafe-name": "a name that points out of its archive",
    "encrypted": "needs a password",
    "not-readable": "could not be read",
    "missing": "named in a listing or a label file, but not there",
    "crashes-decoder": "ended the process that decoded it, twice",
}
COLUMNS = {
    "path": "str",
    "sha256": "str",  # of the file's bytes; empty where they were not read
    "pixels_sha256": "str",  # of the upright pixels in sRGB; empty where they were not decoded
    "perceptual_hash": "str",  # 64 bits in hexadecimal; empty unless near duplicates are looked for
    "bytes": "int64",
    "format": "str",  # as Pillow names it; empty for no image
    "width": "int64",  # pixels, upright
    "height": "int64",
    "mode": "str",  # as Pillow names it
    "label": "str",
    "caption": "str",
    "split": "str",  # train or test; empty where not `ok`
    "status": "str",
    "of": "str",  # path of the image that this one duplicates
    "shard": "str",  # tar file below data/raw; empty where not packed
    "offset": "int64",  # of the file's bytes in its shard; -1 where not packed
}


def schema() -> DataFrameSchema:
    """What every manifest keeps to; pandera checks it on writing and on reading."""
    import pandera.pandas as pa

    def used_is_packed(frame: pd.DataFrame) -> pd.Series[bool]:
        used = frame["status"] == "ok"
        packed = (frame["shard"] != "") & (frame["offset"] >= 0)
        return used == packed

    def used_has_a_side(frame: pd.DataFrame) -> pd.Series[bool]:
        return (frame["status"] == "ok") == frame["split"].isin(["train", "test"])

    def duplicates_name_their_original(frame: pd.DataFrame) -> pd.Series[bool]:
        named = frame["status"].isin(["duplicate-of", "near-duplicate-of"])
        return named == (frame["of"] != "")

    hexadecimal = pa.Check.str_matches(r"^([0-9a-f]{64})?$")
    checks = {
        "path": [pa.Check.str_length(min_value=1)],
        "sha256": [hexadecimal],
        "pixels_sha256": [hexadecimal],
        "perceptual_hash": [pa.Check.str_matches(r"^([0-9a-f]{16})?$")],
        "bytes": [pa.Check.ge(0)],
        "width": [pa.Check.ge(0)],
        "height": [pa.Check.ge(0)],
        "split": [pa.Check.isin(["", "train", "test"])],
        "status": [pa.Check.isin(list(STATUSES))],
        "offset": [pa.Check.ge(-1)],
    }
    return pa.DataFrameSchema(
        {
            name: pa.Column(kind, checks.get(name), nullable=False, unique=name == "path")
            for name, kind in COLUMNS.items()
        },
        checks=[
            pa.Check(used_is_packed, error="a row is ok if and only if it is packed"),
            pa.Check(used_has_a_side, error="a row is ok if and only if it has a split"),
            pa.Check(duplicates_name_their_original, error="duplicates say of what"),
        ],
        strict=True,
        ordered=True,
    )


def write_manifest(frame: pd.DataFrame, folder: Path) -> None:
    """Write the manifest below data/raw.

    Raises pandera's SchemaError or SchemaErrors for a defect in ganpipe.
    """
    schema().validate(frame).to_parquet(folder / MANIFEST, index=False)


def read_manifest(folder: Path) -> pd.DataFrame:
    """The manifest below data/raw, ordered by path.

    Raises GanpipeError when it is missing or not what ingest writes.
    """
    import pandas as pd
    from pandera.errors import SchemaError, SchemaErrors

    path = folder / MANIFEST
    try:
        return schema().validate(pd.read_parquet(path))
    except FileNotFoundError:
        raise GanpipeError(f"{path} is missing: run the stage ingest first") from None
    except (SchemaError, SchemaErrors, OSError, ValueError) as error:
        first = error.schema_errors[0] if isinstance(error, SchemaErrors) else error
        reason = str(first).strip().partition("\n")[0]
        raise GanpipeError(
            f"{path} is no manifest of this version ({reason}): run the stage ingest again"
        ) from error


def told(folder: Path, summary: dict[str, Any], limit: int = 10) -> list[str]:
    """What ingest found, in lines for people: counts, classes, first files that were set aside."""
    lines = [f"{summary['count']} of {summary['files']} files are usable images"]
    for status, count in summary["statuses"].items():
        if status != "ok":
            lines.append(f"{count} {status}: {STATUSES[status]}")
    names = listed(summary["classes"])
    lines.append(f"classes: {names or 'none, ' + summary['unlabelled_because']}")
    if summary["classes"] and {name.lower() for name in summary["classes"]} <= SPLITS:
        lines.append("these classes are named like splits: set data.path to one of the folders")
    if several := summary["in_several_classes"]:
        lines.append(
            f"{len(several)} images lie in several classes, for instance {shown(several[0])!r}"
        )
    lines += examples(read_manifest(folder), limit)
    if lines[-1].startswith("..."):
        lines[-1] += f", all in {folder / MANIFEST}"
    return lines


def examples(frame: pd.DataFrame, limit: int = 10) -> list[str]:
    """The first files that were set aside, in lines for people."""
    bad = frame[~frame["status"].isin(["ok", HIDDEN])]
    lines = []
    for row in bad.head(limit).itertuples():
        of = f" {shown(str(row.of))!r}" if row.of else ""
        lines.append(f"set aside {shown(str(row.path))!r}: {row.status}{of}")
    if len(bad) > limit:
        lines.append(f"... and {len(bad) - limit} more")
    return lines
