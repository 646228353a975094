"""The manifest: what is written is read again, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from pandera.errors import SchemaError, SchemaErrors

from ganpipe.data.ingest import ingest
from ganpipe.data.manifest import (
    COLUMNS,
    MANIFEST,
    STATUSES,
    read_manifest,
    told,
    write_manifest,
)
from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError
from tests.data.conftest import ONE, Pile, chosen, pile_of, png


def frame() -> pd.DataFrame:
    """A used image, its duplicate, and a file that is none."""
    rows = [
        ("a.png", "1" * 64, "2" * 64, "", 99, "PNG", 8, 9, "RGB", "x", "two\nlines", "train", "ok"),
        ("b.png", "1" * 64, "2" * 64, "", 99, "PNG", 8, 9, "RGB", "x", "", "", "duplicate-of"),
        ("c\n\u00fc", "", "", "f" * 16, 0, "", 0, 0, "", "", "", "", "not-an-image"),
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS)[:13])
    table["of"] = ["", "a.png", ""]
    table["shard"] = ["raw-00000.tar", "", ""]
    table["offset"] = [512, -1, -1]
    return table.astype(COLUMNS)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    write_manifest(frame(), tmp_path)
    pd.testing.assert_frame_equal(read_manifest(tmp_path), frame())


def test_an_empty_manifest_is_one(tmp_path: Path) -> None:
    write_manifest(frame()[:0], tmp_path)
    assert len(read_manifest(tmp_path)) == 0


def change(column: str, row: int, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return changed


BREAKS = {
    "a path twice": change("path", 1, "a.png"),
    "no path": change("path", 1, ""),
    "a digest of odd length": change("sha256", 0, "1" * 63),
    "a digest in capitals": change("pixels_sha256", 0, "A" * 64),
    "a hash that is none": change("perceptual_hash", 0, "xyz"),
    "bytes below zero": change("bytes", 0, -1),
    "a width below zero": change("width", 0, -1),
    "a height below zero": change("height", 0, -1),
    "a third split": change("split", 0, "valid"),
    "an unknown status": change("status", 2, "ugly"),
    "an offset below -1": change("offset", 1, -2),
    "used but not packed": change("shard", 0, ""),
    "used at no place": change("offset", 0, -1),
    "packed but not used": change("status", 0, "truncated"),
    "used on no side": change("split", 0, ""),
    "set aside on a side": change("split", 1, "train"),
    "a duplicate of nothing": change("of", 1, ""),
    "no duplicate but of something": change("of", 2, "a.png"),
    "a missing value": change("label", 1, None),
    "a missing column": lambda table: table.drop(columns="caption"),
    "a column more": lambda table: table.assign(more=1),
    "another order of columns": lambda table: table[list(COLUMNS)[::-1]],
    "text for a number": lambda table: table.astype({"bytes": "str"}),
    "fractions": lambda table: table.astype({"width": "float64"}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_every_break_of_the_schema_is_refused(tmp_path: Path, name: str) -> None:
    broken = BREAKS[name](frame())
    with pytest.raises((SchemaError, SchemaErrors)):
        write_manifest(broken, tmp_path)
    assert not (tmp_path / MANIFEST).exists()
    broken.to_parquet(tmp_path / MANIFEST, index=False)
    with pytest.raises(
        GanpipeError, match=r"no manifest of this version \(\w.*run the stage ingest"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all" * 9])
def test_other_files_are_no_manifest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(GanpipeError, match=r"manifest\.parquet is no manifest"):
        read_manifest(tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(GanpipeError, match=r"manifest\.parquet is missing: run the stage ingest"):
        read_manifest(tmp_path)


def test_people_are_told_what_was_found(tmp_path: Path) -> None:
    files = {**pile_of(20), "b/again.png": png(0)}
    files |= {f"bad{n:02d}\n": b"x" for n in range(11)}
    summary = ingest(Pile(files), tmp_path / "raw", chosen(), ONE)
    lines = told(tmp_path / "raw", summary, limit=3)
    assert lines[0] == "20 of 32 files are usable images"
    assert f"11 not-an-image: {STATUSES['not-an-image']}" in lines
    assert "classes: a, b" in lines
    assert "set aside 'b/again.png': duplicate-of 'a/0000.png'" in lines
    assert any(line.startswith("set aside 'bad00") and "not-an-image" in line for line in lines)
    assert lines[-1] == f"... and 9 more, all in {tmp_path / 'raw' / MANIFEST}"
    assert not any("\n" in line for line in lines)


def test_a_name_that_somebody_chose_speaks_to_nobody(tmp_path: Path) -> None:
    """A class or file called like an event or a terminal code is shown, never obeyed."""
    forged = 'cats\n::ganpipe {"stage": "ingest", "event": "error", "message": "x"}\n\x1b[2J'
    files = {f"{forged}/{n}.png": png(n) for n in range(10)}
    files |= {f"dogs/{n}.png": png(n) for n in range(8, 20)} | {f"dogs/{forged}.png": b"no"}
    summary = ingest(Pile(files), tmp_path / "raw", chosen(), ONE)
    for line in told(tmp_path / "raw", summary):
        assert line.isprintable(), line
    with pytest.raises(GanpipeError) as caught:
        ingest(Pile(files), tmp_path / "no", chosen(expected_classes=("dogs",)), ONE)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert "\n::ganpipe" not in str(caught.value)


def test_equal_pictures_in_two_classes_and_classes_named_like_splits_are_told(
    tmp_path: Path,
) -> None:
    files = {f"{side}/{n}.png": png(n) for side in ("train", "test") for n in range(12)}
    files |= {f"train/{n}.png": png(n) for n in range(12, 24)}
    summary = ingest(Pile(files), tmp_path / "raw", chosen(max_set_aside=0.9), ONE)
    lines = told(tmp_path / "raw", summary)
    assert "12 images lie in several classes, for instance 'train/0.png'" in lines
    assert any("named like splits" in line for line in lines)


@pytest.mark.parametrize("path", ["short", "x" * 4000, "\x1b[2J\n" * 50, "\u00fc" * 300])
def test_a_path_takes_little_of_a_line_and_no_control_of_it(path: str) -> None:
    line = shown(path)
    assert len(line) <= 120
    assert line.isprintable()
