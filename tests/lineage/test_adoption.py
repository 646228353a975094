"""Identity of a run, and adopting it, with real git and DVC."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ganpipe import lineage, params, workspace
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.params import Params

PIPELINE = """
stages:
  measure:
    cmd: cp data/source.json report.json && cat params.yaml > model.txt
    params: [train.kimg]
    deps: [data/source.json, ganpipe]
    outs: [model.txt, report.json]
metrics: [report.json]
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def dvc(folder: Path, repo: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    env = workspace.environment(repo, folder)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GANPIPE_STATE", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repo"
    folder.mkdir()
    workspace.git(folder, "init", "--quiet", "--template=")
    workspace.git(folder, "config", "user.name", "A Person")
    workspace.git(folder, "config", "user.email", "person@localhost")
    write(folder / ".dvc" / "config", "[cache]\n    dir = ../.ganpipe/cache\n")
    write(folder / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
    write(folder / ".gitignore", "/.ganpipe/\n/model.txt\n/report.json\n")
    write(folder / "ganpipe" / "code.py", "answer = 1\n")
    write(folder / "dvc.yaml", PIPELINE)
    write(folder / "data" / "source.json", '{"files": 1}\n')
    write(folder / "requirements.lock", "torch\n")
    params.write(Params(), folder / "params.yaml")
    workspace.git(folder, "add", ".")
    workspace.git(folder, "commit", "--quiet", "-m", "start")
    return folder


def run(repo: Path, run_id: str, *assignments: str) -> Path:
    chosen = params.override(Params(), list(assignments))
    made = workspace.create(repo, workspace.pin(repo), chosen, run_id)
    write(made / "data" / "source.json", '{"files": 2}\n')
    dvc(made, repo, "repro", "--quiet")
    return made


def test_adopting_a_run_makes_dvc_know_it_in_the_checkout(repo: Path) -> None:
    run(repo, "run-1", "train.kimg=7")
    assert lineage.adopt(repo, "run-1") == ["params.yaml", "dvc.lock", "data/source.json"]
    dvc(repo, repo, "checkout")
    assert "up to date" in dvc(repo, repo, "status")
    shown = json.loads(dvc(repo, repo, "metrics", "show", "--json"))
    assert shown[""]["data"]["report.json"]["data"] == {"files": 2}
    assert params.load(repo / "params.yaml").train.kimg == 7
    assert lineage.adopt(repo, "run-1") == []


def test_edits_that_are_nowhere_else_are_not_overwritten_without_force(repo: Path) -> None:
    made = run(repo, "run-1", "train.kimg=7")
    edited = params.to_yaml(params.override(Params(), ["train.kimg=9"]))
    write(repo / "params.yaml", edited)
    with pytest.raises(GanpipeError, match=r"params.yaml in .* would lose uncommitted edits"):
        lineage.adopt(repo, "run-1")
    assert (repo / "params.yaml").read_text(encoding="utf-8") == edited
    assert not (repo / "dvc.lock").exists(), "all files or none"
    assert lineage.adopt(repo, "run-1", force=True) == list(lineage.ADOPTED)
    assert sha256(repo / "params.yaml") == sha256(made / "params.yaml")


def test_another_run_may_follow_because_the_first_keeps_its_files(repo: Path) -> None:
    run(repo, "run-1", "train.kimg=7")
    run(repo, "run-2", "train.kimg=8")
    lineage.adopt(repo, "run-1")
    assert lineage.adopt(repo, "run-2") == ["params.yaml", "dvc.lock"]


def test_edits_that_a_pin_holds_are_not_lost(repo: Path) -> None:
    write(repo / "params.yaml", params.to_yaml(params.override(Params(), ["train.kimg=9"])))
    run(repo, "run-1", "train.kimg=9", "train.threads=2")
    assert "params.yaml" in lineage.adopt(repo, "run-1")


def test_an_unknown_or_unfinished_run_is_named_with_what_there_is(repo: Path) -> None:
    with pytest.raises(GanpipeError, match="there is none yet"):
        lineage.adopt(repo, "run-1")
    workspace.create(repo, workspace.pin(repo), Params(), "run-1")
    with pytest.raises(GanpipeError, match="newest runs: run-1"):
        lineage.adopt(repo, "run-7")
    with pytest.raises(GanpipeError, match=r"run-1 has no dvc.lock"):
        lineage.adopt(repo, "run-1")


def test_a_half_finished_run_is_not_adopted_even_with_the_lock_of_an_earlier_one(
    repo: Path,
) -> None:
    pipeline = PIPELINE.replace(
        "metrics:",
        "  judge:\n    cmd: cat model.txt > grade.txt\n"
        "    deps: [model.txt]\n    outs: [grade.txt]\nmetrics:",
    )
    write(repo / "dvc.yaml", pipeline)
    made = workspace.create(repo, workspace.pin(repo), Params(), "run-1")
    dvc(made, repo, "repro", "--quiet", "--single-item", "measure")
    with pytest.raises(GanpipeError, match=r"run-1 has not finished judge in"):
        lineage.adopt(repo, "run-1")
    assert not (repo / "dvc.lock").exists()
    dvc(made, repo, "repro", "--quiet")
    assert lineage.adopt(repo, "run-1") == ["dvc.lock"]
    write(repo / "data" / "source.json", '{"files": 3}\n')
    made = workspace.create(repo, workspace.pin(repo), Params(), "run-2")
    dvc(made, repo, "repro", "--quiet", "--single-item", "measure")
    with pytest.raises(GanpipeError, match=r"run-2 has not finished judge in"):
        lineage.adopt(repo, "run-2")


def test_identity_names_code_data_params_and_environment(repo: Path) -> None:
    made = run(repo, "run-1", "train.threads=2")
    write(made / "data" / "train" / "dataset.json", '{"sha256": "abc"}\n')
    pinned = workspace.pin(repo)
    found = lineage.identity(made, pinned)
    assert found["git_commit"] == pinned.commit
    assert found["git_dirty"] is False
    assert found["dataset_sha256"] == "abc"
    assert found["threads"] == 2
    assert found["start"] == "scratch"
    for key, name in (("dvc_lock", "dvc.lock"), ("params", "params.yaml")):
        assert found[f"{key}_sha256"] == sha256(made / name)
    assert found["requirements_sha256"] == sha256(repo / "requirements.lock")
    assert all(found[key] for key in ("python", "torch", "numpy", "platform", "cpu"))
    json.dumps(found)


def test_a_lock_names_the_checkpoint_of_its_run() -> None:
    out = "{path: checkpoints, hash: md5, md5: abc.dir}"
    lock = "stages: {train: {outs: [{path: model, md5: def.dir}, %s]}}"
    assert lineage.checkpoint(lock % out) == "dvc:abc.dir"
    assert lineage.checkpoint(lock % "{path: other, md5: abc.dir}") is None
    for empty in ("", "schema: '2.0'", "stages: {ingest: {cmd: x}}"):
        assert lineage.checkpoint(empty) is None


def test_a_patch_turns_the_base_into_the_pinned_code(repo: Path, tmp_path: Path) -> None:
    assert lineage.patch(repo, workspace.pin(repo)) == ""
    write(repo / "ganpipe" / "code.py", "answer = 2\n")
    write(repo / "ganpipe" / "new.py", "new = True\n")
    pinned = workspace.pin(repo)
    other = tmp_path / "other"
    workspace.git(tmp_path, "clone", "--quiet", str(repo), str(other))
    workspace.git(other, "apply", "--index", "-", text=lineage.patch(repo, pinned))
    tree = workspace.git(other, "write-tree")
    assert tree == workspace.git(repo, "rev-parse", f"{pinned.commit}^{{tree}}")
