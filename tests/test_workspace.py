"""Pins and workspaces, with real git and DVC."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from dvc.config import Config

from ganpipe import params, workspace
from ganpipe.errors import GanpipeError
from ganpipe.params import Params


def git(folder: Path, *arguments: str) -> str:
    return workspace.git(folder, *arguments)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def initialise(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--template=")
    git(folder, "config", "user.name", "A Person")
    git(folder, "config", "user.email", "person@localhost")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small DVC repository in a path with spaces."""
    for name in ("GANPIPE_STATE", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    folder = tmp_path / "a repository, of mine"
    initialise(folder)
    write(
        folder / ".dvc" / "config", "[core]\n    analytics = false\n[cache]\n    dir = ../.store\n"
    )
    write(folder / ".dvc" / ".gitignore", "/config.local\n/tmp\n")
    write(folder / ".gitignore", "/.ganpipe/\n/.store/\n/data/raw/\n")
    write(folder / "ganpipe" / "code.py", "answer = 1\n")
    write(folder / "dvc.yaml", "stages: {}\n")
    params.write(Params(), folder / "params.yaml")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "start")
    return folder


def test_the_repository_is_found_from_a_folder_inside_it(repo: Path) -> None:
    assert workspace.repository(repo / "ganpipe") == repo


def test_no_repository_no_commit_and_no_git_each_name_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with pytest.raises(GanpipeError, match=r"not in a git repository.*git init"):
        workspace.repository(outside)
    empty = tmp_path / "empty"
    initialise(empty)
    with pytest.raises(GanpipeError, match=r"no commit yet.*git commit"):
        workspace.repository(empty)
    monkeypatch.setenv("PATH", str(outside))
    with pytest.raises(GanpipeError, match="git is not installed"):
        workspace.repository(empty)


def test_a_clean_tree_is_pinned_as_its_own_commit(repo: Path) -> None:
    pinned = workspace.pin(repo)
    assert pinned.commit == pinned.base == git(repo, "rev-parse", "HEAD").strip()
    assert not pinned.dirty
    assert pinned.message() == ""


def test_uncommitted_edits_are_pinned_and_nothing_of_the_checkout_changes(repo: Path) -> None:
    write(repo / "ganpipe" / "code.py", "answer = 2\n")
    write(repo / "ganpipe" / "new ünïcode.py", "new = True\n")
    (repo / "dvc.yaml").unlink()
    write(repo / "flows" / "staged.py", "staged = 1\n")
    git(repo, "add", "flows/staged.py")
    write(repo / "flows" / "staged.py", "staged = 2\n")
    index = (repo / ".git" / "index").read_bytes()
    status = git(repo, "status", "--porcelain")
    head = git(repo, "rev-parse", "HEAD")

    pinned = workspace.pin(repo)

    assert pinned.dirty
    assert pinned.commit[:10] in pinned.message()
    assert git(repo, "show", f"{pinned.commit}:ganpipe/code.py") == "answer = 2\n"
    assert git(repo, "show", f"{pinned.commit}:ganpipe/new ünïcode.py") == "new = True\n"
    assert git(repo, "show", f"{pinned.commit}:flows/staged.py") == "staged = 2\n"
    assert "dvc.yaml" not in git(repo, "ls-tree", "--name-only", pinned.commit).split()
    assert (repo / ".git" / "index").read_bytes() == index
    assert git(repo, "status", "--porcelain") == status
    assert git(repo, "rev-parse", "HEAD") == head
    assert workspace.pin(repo) == pinned, "equal trees give equal commits"
    git(repo, "-c", "gc.pruneExpire=now", "gc", "--quiet", "--prune=now")
    assert git(repo, "cat-file", "-t", pinned.commit).strip() == "commit"


def test_secrets_data_and_big_files_are_never_pinned_but_named(repo: Path) -> None:
    write(repo / "ganpipe" / ".env", "SECRET=1\n")
    write(repo / "data" / "notes.txt", "data\n")
    write(repo / "data" / "raw" / "ignored.bin", "ignored\n")
    write(repo / "ganpipe" / "weights.py", "x" * (workspace.MAX_PINNED_BYTES + 1))
    write(repo / "stray" / "file.txt", "stray\n")
    write(repo / "data" / "source.json", "{}\n")
    pinned = workspace.pin(repo)
    assert pinned.left_out == ["data", "ganpipe/.env", "ganpipe/weights.py", "stray"]
    assert "ganpipe/weights.py" in pinned.message()
    changed = git(repo, "diff", "--name-only", pinned.base, pinned.commit).split()
    assert changed == ["data/source.json"]


def test_a_workspace_holds_the_pinned_code_and_its_own_params(repo: Path) -> None:
    write(repo / "ganpipe" / "code.py", "answer = 2\n")
    pinned = workspace.pin(repo)
    write(repo / "ganpipe" / "code.py", "answer = 3\n")
    chosen = params.override(Params(), ["train.kimg=7"])

    made = workspace.create(repo, pinned, chosen, "run-1")

    assert made == workspace.state_folder(repo) / "workspaces" / "run-1"
    assert (made / "ganpipe" / "code.py").read_text(encoding="utf-8") == "answer = 2\n"
    assert params.load(made / "params.yaml") == chosen
    assert git(made, "rev-parse", "HEAD").strip() == pinned.commit
    assert git(made, "status", "--porcelain").split() == ["M", "params.yaml"]
    with pytest.raises(GanpipeError, match="run-1 has a workspace already"):
        workspace.create(repo, pinned, chosen, "run-1")
    with pytest.raises(GanpipeError, match="is no run id"):
        workspace.create(repo, pinned, chosen, "../elsewhere")


def test_a_workspace_can_be_made_from_a_shallow_clone(repo: Path, tmp_path: Path) -> None:
    write(repo / "ganpipe" / "code.py", "answer = 2\n")
    git(repo, "commit", "--quiet", "-am", "second")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth=1", repo.as_uri(), str(shallow))
    made = workspace.create(shallow, workspace.pin(shallow), Params(), "run-1")
    assert (made / "ganpipe" / "code.py").read_text(encoding="utf-8") == "answer = 2\n"


def test_a_workspace_uses_the_cache_the_remote_and_the_credentials_of_the_repository(
    repo: Path,
) -> None:
    write(
        repo / ".dvc" / "config.local",
        "[core]\n    remote = store\n"
        "['remote \"store\"']\n    url = ../../the remote\n"
        "['remote \"bucket\"']\n    url = s3://bucket/path\n    access_key_id = key\n",
    )
    made = workspace.create(repo, workspace.pin(repo), Params(), "run-1")

    config = Config(dvc_dir=str(made / ".dvc"))
    assert config["core"]["remote"] == "store"
    assert Path(config["remote"]["store"]["url"]) == repo.parent / "the remote"
    assert config["remote"]["bucket"]["url"] == "s3://bucket/path"
    assert config["remote"]["bucket"]["access_key_id"] == "key"
    assert Path(config["cache"]["dir"]) == repo / ".store"


def test_children_get_this_python_and_no_variables_of_a_git_hook(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    assert workspace.repository(repo) == repo
    env = workspace.environment(repo, repo / "elsewhere")
    assert not {"GIT_DIR", "GIT_INDEX_FILE", "PYTHONSAFEPATH"} & env.keys()
    assert env["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert env["PYTHONPATH"].split(os.pathsep)[0] == str(repo / "elsewhere")
    assert env["GANPIPE_STATE"] == str(repo / ".ganpipe")


def test_the_state_folder_can_be_moved(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANPIPE_STATE", str(repo / "x" / ".." / "state"))
    assert workspace.state_folder(repo) == repo / "state"
