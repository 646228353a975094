"""Interrupted, repeated, in the way of something else: the same bytes, or an error that says so."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from ganpipe.errors import GanpipeError
from ganpipe.generation import generate, job
from ganpipe.params.generate import generate_params
from tests.generation.conftest import Make, content, make_model
from tests.killing import told

WORKER = Path(__file__).with_name("kill_worker.py")


@pytest.mark.parametrize("kind", ["shards", pytest.param("parquet", marks=pytest.mark.slow)])
def test_killed_at_any_moment_and_started_again_the_bytes_are_the_same(
    classy: Path, tmp_path: Path, kind: str
) -> None:
    found = told(WORKER, classy, tmp_path / "w", kind, "all")
    assert len(found["moments"]) > 15
    assert set(found["told"].values()) == {"same"}, found


def test_killed_while_png_files_come_the_bytes_are_the_same(classy: Path, tmp_path: Path) -> None:
    found = told(WORKER, classy, tmp_path / "w", "png", 5, 80, 150)
    assert set(found["told"].values()) == {"same"}, found


def interrupted(
    make: Make, monkeypatch: pytest.MonkeyPatch, model: Path, out: Path | str, **values: Any
) -> None:
    """Leave a request unfinished, with its first two parts of 64 images."""
    whole = job._Job._write

    def write(self: Any, part: Any, note: Any) -> None:
        if part.number == 2:
            raise KeyboardInterrupt
        whole(self, part, note)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(job._Job, "_write", write)
        make(model, out, rows=64, **values)


def test_what_is_finished_is_not_made_again(
    plain: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    interrupted(make, monkeypatch, plain, out, n=200)
    assert not out.exists()
    assert make(plain, out, n=200, rows=64).made == 200 - 128
    assert make(plain, out, n=200).made == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("values", "difference"),
    [
        ({"seed": 8}, "seed=0 there, 8 asked for"),
        ({"n": 100}, "n=200 there, 100 asked for"),
        ({"truncation": 0.5}, r"truncation=1\.0 there, 0\.5 asked for"),
        ({"format": "shards"}, "format=png there, shards asked for"),
        ({"threads": 2}, "threads=1 there, 2 asked for"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_destination_of_another_request_is_refused_and_stays(
    plain: Path,
    tmp_path: Path,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, Any],
    difference: str,
    finished: bool,
) -> None:
    out = tmp_path / "out"
    if finished:
        make(plain, out, n=200)
    else:
        interrupted(make, monkeypatch, plain, out, n=200)
    before = content(tmp_path)
    with pytest.raises(GanpipeError, match=difference):
        make(plain, out, **{"n": 200, **values})
    assert content(tmp_path) == before
    replaced = make(plain, out, **{"n": 200, **values, "replace": True})
    assert replaced.made == replaced.description["count"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_generator_is_another_request(plain: Path, tmp_path: Path, make: Make) -> None:
    out = tmp_path / "out"
    make(plain, out)
    other = make_model(tmp_path / "other" / "model", ["a", "b"])
    with pytest.raises(GanpipeError, match="generator_sha256="):
        make(other, out)


def test_other_files_are_never_touched(plain: Path, tmp_path: Path, make: Make) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images-00000.npy").write_text("a data set of somebody's")
    for out, message in {
        ".": r"holds other files \(data/images-00000\.npy, thesis\.tex\)",
        "data": r"holds other files \(images-00000\.npy\)",
        "thesis.tex": "is a file",
        "thesis.tex/samples": "cannot be written",
    }.items():
        for replace in (False, True):
            with pytest.raises(GanpipeError, match=message):
                make(plain, tmp_path / out, replace=replace)
    assert sorted(content(tmp_path)) == ["data/images-00000.npy", "thesis.tex"]
    make(plain, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("the third one is good")
    with pytest.raises(GanpipeError, match=r"holds other files \(notes\.txt\)"):
        make(plain, tmp_path / "out", seed=1, replace=True)


def test_a_mount_point_is_refused_before_any_work(plain: Path, make: Make) -> None:
    (mounted,) = [path for path in (Path("/dev/shm"), Path("/")) if path.is_mount()][:1]  # noqa: S108
    before = sorted(mounted.parent.iterdir())
    with pytest.raises(GanpipeError, match=f"{mounted} is a mount point: name a folder in it"):
        make(plain, mounted)
    assert sorted(mounted.parent.iterdir()) == before


def test_images_that_somebody_changed_are_not_called_whole(
    plain: Path, tmp_path: Path, make: Make
) -> None:
    make(plain, tmp_path / "out")
    (tmp_path / "out" / "00003.png").unlink()
    with pytest.raises(GanpipeError, match="has changed since"):
        make(plain, tmp_path / "out")
    assert make(plain, tmp_path / "out", replace=True).made == 64


def test_a_damaged_part_of_unfinished_work_is_made_again(
    plain: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(plain, tmp_path / "whole", n=200, format="shards", rows=64)
    interrupted(make, monkeypatch, plain, tmp_path / "out", n=200, format="shards")
    (tmp_path / ".out.unfinished" / "images-00001.npy").write_bytes(b"half")
    assert make(plain, tmp_path / "out", n=200, format="shards", rows=64).made == 200 - 64
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_two_at_once_do_not_write_to_one_place(
    plain: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, end = threading.Event(), threading.Event()
    whole = job._Job._write

    def write(self: Any, part: Any, note: Any) -> None:
        begun.set()
        assert end.wait(60)
        whole(self, part, note)

    monkeypatch.setattr(job._Job, "_write", write)
    first = threading.Thread(target=make, args=(plain, tmp_path / "out"))
    first.start()
    try:
        assert begun.wait(60)
        with pytest.raises(GanpipeError, match="another process is writing"):
            make(plain, tmp_path / "out")
    finally:
        end.set()
        first.join()
    assert len(content(tmp_path / "out")) == 67


def test_a_full_disk_is_named_and_what_is_there_is_gone_on_with(
    plain: Path, tmp_path: Path, make: Make
) -> None:
    """A limit on file size stops the writing of a part as a full disk would."""
    out = tmp_path / "out"
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000));"
        "sys.argv[0] = 'ganpipe'; from ganpipe.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "generate", "--model", str(plain), "--out", str(out)]
    command += ["--n=200", "--format=shards", "--threads=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f"{out} cannot be written (File too large): make room" in done.stderr
    assert "start the same command again, and it goes on" in done.stderr
    assert not out.exists()
    make(plain, out, n=200, format="shards")
    make(plain, tmp_path / "whole", n=200, format="shards")
    assert content(out) == content(tmp_path / "whole")


def test_shards_that_cannot_fit_are_refused_at_once(
    plain: Path, tmp_path: Path, make: Make
) -> None:
    free = shutil.disk_usage(tmp_path).free
    if free > 64 * 100_000_000:
        free = 0  # so large a disk holds the most that can be asked for
    if free:
        with pytest.raises(GanpipeError, match=r"GB are free there: make room"):
            make(plain, tmp_path / "out", n=100_000_000, format="shards")


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.json"])
def test_a_damaged_generator_is_refused(plain: Path, tmp_path: Path, make: Make, name: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(plain, model)
    file = model / name
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(GanpipeError, match=rf"{name} (cannot be read|is damaged)"):
        make(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_description_says_what_was_made_of_what(
    classy: Path, tmp_path: Path, make: Make
) -> None:
    from ganpipe.files import sha256

    written = make(classy, tmp_path / "out", n=100, seed=3, format="shards", rows=64)
    about = json.loads((tmp_path / "out" / "generation.json").read_text())
    assert about == json.loads(json.dumps(written.description))
    assert (about["model"], about["version"]) == (str(classy), "")
    assert about["generator_sha256"] == sha256(classy / "generator.safetensors")
    assert about["request"]["seed"] == 3
    assert about["count"] == 100
    files = {name for name in content(tmp_path / "out") if name != "generation.json"}
    assert set(about["sha256_of"]) == files
    for name, digest in about["sha256_of"].items():
        assert sha256(tmp_path / "out" / name) == digest


def test_an_empty_destination_is_one_that_only_this_request_has(
    plain: Path, tmp_path: Path
) -> None:
    places = {
        generate(generate_params(model=str(plain), seed=seed, threads=1), tmp_path).destination
        for seed in (1, 2, 1)
    }
    assert len(places) == 2
    assert {Path(place).parent for place in places} == {tmp_path / ".ganpipe" / "samples"}


def test_memory_does_not_grow_with_the_number(plain: Path, tmp_path: Path, make: Make) -> None:
    make(plain, tmp_path / "few", n=64 * 300, format="shards", rows=64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    make(plain, tmp_path / "many", n=64 * 2400, format="shards", rows=6400)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 8 * 1024  # KiB; the images are 9.8 MB
