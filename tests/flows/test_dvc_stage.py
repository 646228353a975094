"""Whether a stage would run is known without running it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows.dvc_stage import is_cached
from ganpipe import workspace


def repository(folder: Path, cache: Path) -> Path:
    folder.mkdir()
    workspace.git(folder, "init", "--quiet", "--template=")
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
    (folder / "in.txt").write_text("images", encoding="utf-8")
    (folder / "dvc.yaml").write_text(
        "stages: {work: {cmd: cp in.txt out.txt, deps: [in.txt], outs: [out.txt]}}\n",
        encoding="utf-8",
    )
    return folder


def test_another_checkouts_run_is_known_and_nothing_changes(tmp_path: Path) -> None:
    first = repository(tmp_path / "first", tmp_path / "cache")
    second = repository(tmp_path / "second one", tmp_path / "cache")
    assert not is_cached("work", first, os.environ)
    assert not (first / "out.txt").exists()
    repro = [sys.executable, "-P", "-m", "dvc", "repro", "--quiet", "work"]
    subprocess.run(repro, cwd=first, check=True)
    assert is_cached("work", first, os.environ)
    assert is_cached("work", second, os.environ)
    assert not (second / "out.txt").exists()
    assert not (second / "dvc.lock").exists()
    (second / "in.txt").write_text("other images", encoding="utf-8")
    assert not is_cached("work", second, os.environ)
    (second / "in.txt").unlink()
    assert not is_cached("work", second, os.environ)
