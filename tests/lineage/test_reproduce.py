"""A version becomes a workspace again: from the cache, from the remote, or computed anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ganpipe import params, tracking, workspace
from ganpipe.files import sha256
from ganpipe.lineage.reproduce import reproduce
from ganpipe.params import Params
from tests.lineage.tiny import Project, away, changed, dvc, problem, write


def again(project: Project, number: int = 1, **options: Any) -> Any:
    return reproduce(project.uri, project.version(number), project.repo, **options)


def clone(project: Project, folder: Path) -> Path:
    """A clone as another machine has it: HEAD's history, no cache, no pinned commits."""
    workspace.git(folder, "clone", "--quiet", "--no-local", str(project.repo), "clone")
    return folder / "clone"


def test_a_version_comes_back_from_the_cache_with_its_code_and_parameters(
    project: Project,
) -> None:
    with away(project.remote):
        made = again(project)
    assert {each.path for each in made.outputs} == {"data/raw", "model", "checkpoints", "report"}
    assert made.identical
    assert made.reasons == []
    kept, tags = project.kept(1) / "lineage", project.version(1).tags
    for name in ("params.yaml", "dvc.lock", "data/source.json"):
        assert (made.workspace / name).read_bytes() == (kept / name).read_bytes()
    assert workspace.git(made.workspace, "rev-parse", "HEAD").strip() == tags["ganpipe.git_commit"]
    weights = made.workspace / "model" / "generator.safetensors"
    assert sha256(weights) == tags["ganpipe.generator_sha256"]
    dvc(made.workspace, project.repo, "repro", "--dry")


def test_in_a_fresh_clone_edits_come_from_the_patch_and_bytes_from_the_remote(
    project: Project, tmp_path: Path
) -> None:
    repo, version = clone(project, tmp_path), project.version(2)
    commit = version.tags["ganpipe.git_commit"]
    assert version.tags["ganpipe.git_dirty"] == "true"
    before = workspace.git(repo, "status", "--porcelain"), (repo / ".git" / "index").read_bytes()
    made = reproduce(project.uri, version, repo)
    assert made.identical
    assert workspace.git(made.workspace, "rev-parse", "HEAD").strip() == commit
    trees = [
        workspace.git(each, "rev-parse", f"{commit}^{{tree}}") for each in (repo, project.repo)
    ]
    assert trees[0] == trees[1]
    assert "python work.py  train" in (made.workspace / "dvc.yaml").read_text(encoding="utf-8")
    now = workspace.git(repo, "status", "--porcelain"), (repo / ".git" / "index").read_bytes()
    assert now == before, "branch, index and files are as they were"
    assert workspace.git(repo, "worktree", "list").count("\n") == 1


def test_from_scratch_takes_nothing_from_a_cache(project: Project) -> None:
    with away(project.cache), away(project.remote):
        project.cache.mkdir()
        made = again(project, 2, from_scratch=True)
        assert list(project.cache.rglob("*")) == []
    # without the lists of files all that can be told of a folder is its hash, which is the same
    assert made.identical
    own = project.objects(made.workspace / ".ganpipe" / "cache")
    assert set(project.lock(2).values()) <= set(own)


def test_from_scratch_says_which_files_differ_and_why_they_may(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFT", "another library")
    made = again(project, 2, from_scratch=True)
    assert not made.identical
    found = {each.path: each.differences for each in made.outputs}
    assert [path for path in found if found[path]] == ["checkpoints"]
    (line,) = found["checkpoints"]
    assert line.startswith("drift: has md5 ")
    assert made.reasons == [
        "Python, torch, numpy, CPU and threads are the same: a stage is not exact"
    ]
    version = project.version(2)
    version.tags["ganpipe.torch"] = "2.0.1"
    made = reproduce(project.uri, version, project.repo, from_scratch=True)
    assert made.reasons[0].startswith("torch: 2.0.1 then, ")


def test_a_source_that_holds_other_images_is_named_before_any_work(project: Project) -> None:
    told = problem(again, project, 1, from_scratch=True)  # version 2 was made of other images
    assert "has changed: this version was made of 3 files" in told
    assert not left(project)


def left(project: Project) -> list[Path]:
    return [
        each for each in workspace.workspaces(project.repo) if each.name.startswith("reproduce")
    ]


def test_a_stage_that_fails_leaves_its_workspace_for_a_look(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREAK", "1")
    told = problem(again, project, 2, from_scratch=True)
    (folder,) = left(project)
    assert f"a stage failed in {folder}" in told


def test_a_killed_reproduction_leaves_no_stage_behind(project: Project, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = subprocess.Popen(
        [sys.executable, "-m", "ganpipe", "reproduce", "2", "--from-scratch"],
        cwd=project.repo,
        env={**os.environ, "HANG": str(note)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: note.exists() and note.read_text(encoding="utf-8") != "")
        pid = int(note.read_text(encoding="utf-8"))
        assert psutil.pid_exists(pid)
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not psutil.pid_exists(pid))


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_bytes_that_are_nowhere_are_named_and_no_workspace_is_left(project: Project) -> None:
    with away(project.cache), away(project.remote):
        told = problem(again, project)
    assert "not all of this version's bytes can be had" in told
    assert "--from-scratch" in told
    assert not left(project)


def test_a_damaged_cache_shows_in_the_comparison(project: Project) -> None:
    wanted = project.entries(project.lock(1)["data/raw"])["manifest.parquet"]
    with changed(project.objects(project.cache)[wanted]):
        made = again(project)
    (found,) = [each for each in made.outputs if not each.identical]
    assert found.path == "data/raw"
    assert found.differences[0].startswith("manifest.parquet: has md5 ")
    assert "`ganpipe verify --thorough`" in made.reasons[0]


def test_a_commit_that_is_nowhere_and_a_patch_that_was_changed_are_named(
    project: Project, tmp_path: Path
) -> None:
    repo, version = clone(project, tmp_path), project.version(2)
    patch = project.kept(2) / "lineage" / "uncommitted.patch"
    with away(patch):
        told = problem(reproduce, project.uri, version, repo)
    commit = version.tags["ganpipe.git_commit"]
    assert f"`git fetch URL refs/ganpipe/{commit}" in told
    text = patch.read_text(encoding="utf-8")
    patch.write_text(text.replace("torch==2.10", "torch==2.66"), encoding="utf-8")
    try:
        told = problem(reproduce, project.uri, version, repo)
    finally:
        patch.write_text(text, encoding="utf-8")
    assert "the patch was changed" in told
    with away(project.repo / "dvc.yaml"):
        shutil.rmtree(repo / ".git")
        workspace.git(repo, "init", "--quiet", "--template=")
    told = problem(reproduce, project.uri, version, repo)
    assert f"neither commit {commit}" in told


def test_parameters_that_this_code_does_not_know_are_kept_as_they_are(project: Project) -> None:
    """An older version may have had a parameter that is gone."""
    kept = project.kept(1) / "lineage" / "params.yaml"
    text = kept.read_text(encoding="utf-8")
    version = project.version(1)
    kept.write_text(f"{text}\nold:\n  key: 1\n", encoding="utf-8")
    version.tags["ganpipe.params_sha256"] = sha256(kept)
    try:
        made = reproduce(project.uri, version, project.repo)
    finally:
        kept.write_text(text, encoding="utf-8")
    assert made.identical
    assert "old:" in (made.workspace / params.PARAMS_FILE).read_text(encoding="utf-8")


@pytest.fixture
def older(project: Project) -> Iterator[Any]:
    """A version of other code, whose parameters are none that this code knows."""
    code, client = project.repo / "ganpipe", tracking.connect(project.uri)
    write(code / "__init__.py", "")
    write(code / "__main__.py", "")  # its `refresh` finds the source as it was
    version = project.run("train.seed=1")
    kept = project.kept(version.version) / "lineage" / params.PARAMS_FILE
    values = yaml.safe_load(kept.read_text(encoding="utf-8"))
    values["train"]["momentum"] = values["old"] = 1
    kept.write_text(yaml.safe_dump(values), encoding="utf-8")
    assert "momentum" in problem(params.load, kept)
    client.set_model_version_tag("ganpipe", version.version, "ganpipe.params_sha256", sha256(kept))
    yield project.version(version.version)
    client.delete_model_version("ganpipe", version.version)
    shutil.rmtree(code)


def test_what_may_differ_is_told_of_an_older_version_too(
    project: Project, older: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFT", "another library")
    older.tags["ganpipe.numpy"], older.tags["ganpipe.threads"] = "1.0", "64"
    made = reproduce(project.uri, older, project.repo, from_scratch=True)
    assert [each.path for each in made.outputs if not each.identical] == ["checkpoints"]
    threads = Params().train.threads
    assert made.reasons[0].startswith("numpy: 1.0 then, ")
    assert made.reasons[1:] == [f"threads: 64 then, {threads} now"]


@pytest.fixture(autouse=True)
def _tidy(project: Project) -> Iterator[None]:
    yield
    for each in left(project):
        shutil.rmtree(each)
