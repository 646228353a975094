"""A program is named as a terminal finds it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ganpipe import programs


def test_a_program_off_the_path_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a checkout" / ".venv" / "bin"
    folder.mkdir(parents=True)
    program = folder / "ganpipe"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path / "a checkout")
    assert programs.command("ganpipe") == ".venv/bin/ganpipe"
    monkeypatch.chdir(tmp_path)
    assert programs.command("ganpipe") == "'a checkout/.venv/bin/ganpipe'"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert programs.command("ganpipe") == f"'{program}'"
    other = tmp_path / "other"
    other.mkdir()
    (other / "ganpipe").write_text("#!/bin/sh\n")
    (other / "ganpipe").chmod(0o755)
    monkeypatch.setenv("PATH", str(other))
    assert programs.command("ganpipe") == f"'{program}'", "PATH leads to another one"
    monkeypatch.setenv("PATH", str(folder))
    assert programs.command("ganpipe") == "ganpipe"
