"""Ingest: every file has a row, good bytes are packed, and only the set of files decides."""

from __future__ import annotations

import importlib
import io
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ganpipe.data import find
from ganpipe.data.ingest import SUMMARY, ingest
from ganpipe.data.manifest import read_manifest
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json
from ganpipe.params import ComputeParams
from tests.data.conftest import ONE, Pile, chosen, encoded, noise, pile_of, png, tree

MIXED = {
    **pile_of(24),
    "a/cut.png": png(100)[:150],
    "a/not.png": b"no image",
    "b/again.png": png(0),
    "b/zero.png": b"",
}


def test_every_file_has_a_row_and_the_good_ones_are_packed_as_they_are(tmp_path: Path) -> None:
    summary = ingest(Pile(MIXED), tmp_path / "raw", chosen(), ONE)
    rows = read_manifest(tmp_path / "raw").set_index("path")
    assert list(rows.index) == sorted(MIXED)
    assert rows["bytes"].to_dict() == {path: len(payload) for path, payload in MIXED.items()}
    bad = rows.loc[rows["status"] != "ok", "status"].to_dict()
    assert bad == {
        "a/cut.png": "truncated",
        "a/not.png": "not-an-image",
        "b/again.png": "duplicate-of",
        "b/zero.png": "not-an-image",
    }
    assert rows.loc["b/again.png", "of"] == "a/0000.png"
    good = rows[rows["status"] == "ok"]
    with tarfile.open(tmp_path / "raw" / "raw-00000.tar") as tar:
        packed = {member.name: tar.extractfile(member).read() for member in tar}
    assert packed == {path: MIXED[path] for path in good.index}
    assert list(packed) == sorted(packed)
    whole = (tmp_path / "raw" / "raw-00000.tar").read_bytes()
    for path, row in good.iterrows():
        assert whole[row["offset"] : row["offset"] + row["bytes"]] == MIXED[path]
    assert sorted(tree(tmp_path / "raw")) == ["manifest.parquet", "raw-00000.tar", "raw.json"]
    assert summary == read_json(tmp_path / "raw" / SUMMARY)
    assert (summary["count"], summary["files"]) == (24, 28)
    assert summary["statuses"] == {"duplicate-of": 1, "not-an-image": 2, "ok": 24, "truncated": 1}
    assert sum(summary["splits"].values()) == 24
    assert summary["classes"] == ["a", "b"]
    assert summary["class_counts"] == {"a": 12, "b": 12}


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.permutations(sorted(MIXED)), st.integers(1, 9), st.integers(1, 3))
def test_order_of_reading_chunks_and_processes_change_no_byte(
    fresh: Callable[..., dict[str, str]],
    in_chunks: Callable[[int], None],
    order: list[str],
    files: int,
    processes: int,
) -> None:
    in_chunks(64)
    expected = fresh(MIXED)
    in_chunks(files)
    place = {path: number for number, path in enumerate(order)}
    pile = Pile(MIXED, order=lambda entries: sorted(entries, key=lambda e: place[e.path]))
    with tempfile.TemporaryDirectory() as folder:
        ingest(pile, Path(folder) / "raw", chosen(), ComputeParams(processes=processes))
        assert tree(Path(folder) / "raw") == expected
    assert sorted(pile.reads) == sorted(MIXED)


@pytest.mark.parametrize(
    "changes",
    [{"near_duplicates": "set-aside"}, {"min_side": 11}, {"max_pixels": 300, "max_set_aside": 1}],
)
def test_parameters_that_matter_change_the_outcome(
    fresh: Callable[..., dict[str, str]], changes: dict[str, object]
) -> None:
    files = {**pile_of(12), "near.png": encoded(Image.fromarray(noise(3)), "JPEG", quality=98)}
    files |= {f"large/{n}.png": png(50 + n, 20, 20) for n in range(14)}
    first, other = fresh(files), fresh(files, chosen(**changes))
    assert first["manifest.parquet"] != other["manifest.parquet"]


def test_hostile_names_are_packed_and_come_back(tmp_path: Path) -> None:
    names = [
        "two\nlines",
        "x" * 4000,
        "глубоко/" * 300 + "é",
        "tab\t\x1b[31m",
        "a'\"\\b",
        "-rf",
        "%s",
    ]
    files = pile_of(8) | {name: png(40 + n) for n, name in enumerate(names)}
    ingest(Pile(files), tmp_path / "raw", chosen(), ONE)
    rows = read_manifest(tmp_path / "raw")
    assert rows["path"].tolist() == sorted(files)
    assert (rows["status"] == "ok").all()
    with tarfile.open(tmp_path / "raw" / "raw-00000.tar") as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar} == files


def test_what_a_source_sets_aside_keeps_its_reason_and_is_not_read(tmp_path: Path) -> None:
    pile = Pile(
        {**pile_of(8), "link": b"", "locked.png": png(9), "gone.png": png(10)},
        unread={"link": "symlink"},
        failing={"locked.png": "not-readable", "gone.png": "missing"},
    )
    ingest(pile, tmp_path / "raw", chosen(), ONE)
    statuses = read_manifest(tmp_path / "raw").set_index("path")["status"]
    assert statuses["link"] == "symlink"
    assert statuses["locked.png"] == "not-readable"
    assert statuses["gone.png"] == "missing"
    assert "link" not in pile.reads


def test_a_file_that_ends_its_decoder_is_set_aside_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    jobs = importlib.import_module("worker_jobs")
    monkeypatch.setattr(find, "examine_all", jobs.examine_deadly)
    files = pile_of(20) | {"b/0005x.png": png(5) + b"DEADLY"}
    ingest(Pile(files), tmp_path / "raw", chosen(), ComputeParams(processes=2), tmp_path / "c")
    rows = read_manifest(tmp_path / "raw").set_index("path")
    assert rows.loc["b/0005x.png", "status"] == "crashes-decoder"
    assert (rows["status"] == "ok").sum() == 20
    monkeypatch.undo()
    again = Pile(files)
    ingest(again, tmp_path / "raw", chosen(), ONE, tmp_path / "c")
    assert again.reads == ["b/0005x.png"]
    rows = read_manifest(tmp_path / "raw").set_index("path")
    assert rows.loc["b/0005x.png", "status"] == "duplicate-of"


def test_the_side_of_an_image_depends_on_its_pixels_alone(tmp_path: Path) -> None:
    """Stored again in another lossless format and among others, an image stays on its side."""
    kinds = {"PNG": 0, "BMP": 5, "TIFF": 9}
    sides: dict[str, dict[str, str]] = {}
    for kind, others in kinds.items():
        files = {f"{n:02d}": encoded(noise(n), kind) for n in range(20)}
        files |= {f"{n:02d}x": png(200 + n) for n in range(others)}
        ingest(Pile(files), tmp_path / kind, chosen(), ONE)
        rows = read_manifest(tmp_path / kind).set_index("path")
        sides[kind] = rows.loc[[f"{n:02d}" for n in range(20)], "split"].to_dict()
    assert sides["PNG"] == sides["BMP"] == sides["TIFF"]
    assert set(sides["PNG"].values()) == {"train", "test"}


def test_no_file_runs_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EPS would call Ghostscript."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    drawing = encoded(Image.effect_noise((16, 16), 40), "EPS")
    # where a decoder that called a program would do so: workers know another PATH
    assert find.examine_all([drawing], find.limits_of(chosen()))[0].status == "not-an-image"
    files = {**pile_of(8), "drawing.eps": drawing}
    ingest(Pile(files), tmp_path / "raw", chosen(), ONE)
    rows = read_manifest(tmp_path / "raw").set_index("path")
    assert rows.loc["drawing.eps", "status"] == "not-an-image"
    assert Image.open(io.BytesIO(drawing)).format == "EPS"  # Pillow itself knows it
    assert not (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("files", "changes", "words"),
    [
        ({"a.txt": b"x", "b.jpg": b"\xff\xd8\xff"}, {}, "none of the 2 files is a usable image"),
        ({"a.txt": b"x"}, {"near_duplicates": "set-aside"}, "none of the 1 files"),
        ({}, {}, "holds no files"),
        ({"a.png": png(0)}, {}, "1 of 1 files are usable images, fewer than data.min_images=4"),
        (pile_of(9) | {"x": b""}, {"max_set_aside": 0.05}, r"1 of 10 files \(10.0%\)"),
        (pile_of(9), {"expected_classes": ("a", "c")}, "missing: c; not expected: b"),
    ],
)
def test_too_little_to_use_fails_and_leaves_what_was_there(
    tmp_path: Path, files: dict[str, bytes], changes: dict[str, object], words: str
) -> None:
    for before in ([], ["kept"]):
        for name in before:
            (tmp_path / "data" / "raw").mkdir(parents=True)
            (tmp_path / "data" / "raw" / name).touch()
        with pytest.raises(GanpipeError, match=words):
            ingest(Pile(files), tmp_path / "data" / "raw", chosen(**changes), ONE)
        assert list(tree(tmp_path / "data")) == [f"raw/{name}" for name in before]
        assert len(list((tmp_path / "data").iterdir())) == len(before)
