"""Files appear whole or not at all."""

import hashlib
import subprocess

import pytest

from ganpipe import files


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "value.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as beside:
        beside.write_text("half")
        raise RuntimeError("power cut")
    assert files.read_json(path) == {"a": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["value.json"]


def test_a_failed_folder_leaves_the_old_one_and_nothing_beside_it(tmp_path):
    folder = tmp_path / "model"
    with files.replacing_folder(folder) as beside:
        (beside / "weights").write_text("old")
    with pytest.raises(OSError, match="disk"), files.replacing_folder(folder) as beside:
        (beside / "weights").write_text("new")
        raise OSError("disk full")
    assert (folder / "weights").read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = tmp_path / f".model.partial.{gone.pid}.partial"
    (left / "deep").mkdir(parents=True)
    with files.replacing_folder(tmp_path / "model") as beside:
        (beside / "weights").write_text("new")
    assert [child.name for child in tmp_path.iterdir()] == ["model"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"ganpipe")
    assert files.sha256(tmp_path / "f") == hashlib.sha256(b"ganpipe").hexdigest()
