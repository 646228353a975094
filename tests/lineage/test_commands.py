"""`ganpipe lineage`, `verify`, `reproduce` and `diff`, as people call them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganpipe import workspace
from ganpipe.cli import app
from ganpipe.errors import GanpipeError
from tests.lineage.tiny import Project, away


@pytest.fixture
def call(project: Project, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(project.repo)

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, arguments)
        if isinstance(done.exception, GanpipeError):
            raise done.exception
        return done.exit_code, done.stdout

    return run


def test_lineage_prints_a_tree_or_json(call, project: Project) -> None:  # type: ignore[no-untyped-def]
    code, text = call("lineage", "2")
    assert code == 0
    assert "ganpipe version 2" in text
    assert "\\xa0" not in text  # a space that people see as one
    _, text = call("lineage", "models:/ganpipe/1", "--json")
    assert json.loads(text)["version"] == "1"
    with pytest.raises(GanpipeError, match="no version 7: versions 1, 2"):
        call("lineage", "7")


def test_verify_ends_with_1_when_something_is_lost(call, project: Project) -> None:  # type: ignore[no-untyped-def]
    assert call("verify", "1") == (0, "ganpipe version 1: all is there and matches\n")
    with away(project.cache), away(project.remote):
        code, text = call("verify", "1", "--thorough")
    assert code == 1
    assert "model: its list of files" in text


def test_reproduce_compares_and_ends_with_1_only_when_asked_to(  # type: ignore[no-untyped-def]
    call, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = call("reproduce", "1", "--verify")
    assert code == 0
    assert "model: identical\n" in text
    monkeypatch.setenv("DRIFT", "x")
    for options, wanted in (((), 0), (("--verify",), 1)):
        code, text = call("reproduce", "2", "--from-scratch", *options)
        assert code == wanted
        assert "checkpoints: differs\n  drift: has md5" in text
        assert "why it may: " in text
    for each in workspace.workspaces(project.repo):
        if each.name.startswith("reproduce"):
            shutil.rmtree(each)


def test_diff_prints_and_writes_a_page(call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, text = call("diff", "1", "2", "--out", str(tmp_path / "page.html"))
    assert code == 0
    assert "train.seed: 0 -> 1" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "page.png"]
    _, text = call("diff", "1", "2", "--json")
    assert json.loads(text)["names"] == ["ganpipe version 1", "ganpipe version 2"]
