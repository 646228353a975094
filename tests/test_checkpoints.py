"""Names of checkpoints become addresses, addresses become folders; with real git and DVC."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from ganpipe import checkpoints, params, stages, workspace
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256, write_json
from ganpipe.params import Params

ADDRESS = "dvc:0123456789abcdef0123456789abcdef.dir"


def dvc(folder: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a DVC remote, a folder in a path with spaces."""
    for name in ("GANPIPE_STATE", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    folder = tmp_path / "a repo"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text(
        "[core]\n    analytics = false\n    remote = store\n"
        '[cache]\n    dir = ../.ganpipe/cache\n    type = "reflink,hardlink,copy"\n'
        "['remote \"store\"']\n    url = ../../remote\n",
        encoding="utf-8",
    )
    (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n", encoding="utf-8")
    (folder / ".gitignore").write_text("/.ganpipe/\n/data/start/\n", encoding="utf-8")
    workspace.git(folder, "init", "--quiet", "--template=")
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder as the stage `train` writes it, with a note of somebody's beside its two files."""
    folder = tmp_path / "from elsewhere"
    folder.mkdir()
    save_file({"weights": np.arange(1000, dtype=np.float32)}, folder / "state.safetensors")
    description = {"format": 1, "images": 2000, "steps": 31}
    write_json(
        folder / "state.json",
        {**description, "sha256": sha256(folder / "state.safetensors")},
    )
    (folder / "note.txt").write_text("mine", encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def only(start: str) -> Params:
    return params.override(Params(), [f"train.start={start}", "train.kimg=3"])


def push(repo: Path, checkpoint: Path) -> str:
    """The address of a checkpoint that is on the remote alone, put there by DVC itself."""
    copy = repo / "pushed"
    shutil.copytree(checkpoint, copy, ignore=shutil.ignore_patterns("note.txt"))
    dvc(repo, "add", "--quiet", "pushed")
    dvc(repo, "push", "--quiet")
    entry = yaml.safe_load((repo / "pushed.dvc").read_text(encoding="utf-8"))["outs"][0]
    for path in (repo / ".ganpipe", copy):
        shutil.rmtree(path)
    (repo / "pushed.dvc").unlink()
    return f"dvc:{entry['md5']}"


def test_scratch_and_addresses_stand_for_themselves(repo: Path) -> None:
    for start in ("scratch", ADDRESS):
        assert checkpoints.address(start, repo) == start
    assert checkpoints.address(ADDRESS.removeprefix("dvc:"), repo) == ADDRESS


def test_a_folder_is_put_into_the_cache_and_nothing_else_is_touched(
    repo: Path, checkpoint: Path
) -> None:
    before = {path: os.lstat(path) for path in checkpoint.iterdir()}
    tree = contents(repo)
    address = checkpoints.address(str(checkpoint), repo)
    after = {path: os.lstat(path) for path in checkpoint.iterdir()}
    assert before == after
    now = contents(repo)
    cache = ".ganpipe/cache/files/md5/"
    assert {name for name in now if not name.startswith(cache)} == set(tree)
    assert len(now) == len(tree) + 3, "two files and their list"
    assert f"{cache}{address[4:6]}/{address[6:]}" in now
    shutil.copytree(checkpoint, repo / "kept")
    assert checkpoints.address("kept", repo) == address, "a relative one is below the repository"


def test_what_is_in_the_cache_takes_no_second_copy_and_no_remote(
    repo: Path, checkpoint: Path, free_port: int
) -> None:
    dead = f"['remote \"store\"']\n    url = http://127.0.0.1:{free_port}/\n"
    (repo / ".dvc" / "config.local").write_text(dead, encoding="utf-8")
    address = checkpoints.address(str(checkpoint), repo)
    assert checkpoints.fetch(address, repo, repo / "data" / "start")["images"] == 2000
    wanted = contents(checkpoint)
    del wanted["note.txt"]
    assert contents(repo / "data") == {f"start/{name}": wanted[name] for name in wanted}
    cached = {os.lstat(path).st_ino for path in (repo / ".ganpipe").rglob("*") if path.is_file()}
    assert {os.lstat(path).st_ino for path in (repo / "data" / "start").iterdir()} <= cached


def test_what_is_only_on_the_remote_is_fetched_from_there(
    repo: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = push(repo, checkpoint)
    monkeypatch.chdir(repo)
    stages.run("start", only(address), Path())  # as `ganpipe stage` calls it
    wanted = contents(checkpoint)
    del wanted["note.txt"]
    assert contents(repo / "data" / "start") == wanted
    assert len(list((repo / "data").rglob("*"))) == 3, "nothing else"
    assert checkpoints.address(str(checkpoint), repo) == address, "the hash that DVC gave it"
    # another checkpoint takes its place whole
    stages.run("start", only("scratch"), repo)
    assert contents(repo / "data") == {"start/scratch": b""}


@pytest.mark.parametrize("remote", ["none", "empty"])
def test_what_is_nowhere_is_named_with_the_way_to_get_it(
    repo: Path, tmp_path: Path, remote: str
) -> None:
    (tmp_path / "remote").mkdir()
    if remote == "none":
        (repo / ".dvc" / "config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    match = rf"{ADDRESS} is neither in DVC's cache .*`dvc push` .*--remote"
    with pytest.raises(GanpipeError, match=match):
        stages.run("start", only(ADDRESS), repo)
    assert not [path for path in (repo / "data").iterdir() if path.name != ".start"]


def test_bytes_that_the_remote_changed_are_not_begun_from(
    repo: Path, checkpoint: Path, tmp_path: Path
) -> None:
    address = push(repo, checkpoint)
    size = (checkpoint / "state.safetensors").stat().st_size
    (tensors,) = (
        p for p in (tmp_path / "remote").rglob("*") if p.is_file() and p.stat().st_size == size
    )
    tensors.chmod(0o644)
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(GanpipeError, match="damaged"):
        checkpoints.fetch(address, repo, repo / "data" / "start")
    assert not (repo / "data" / "start").exists()


def test_a_stage_takes_no_name_that_may_move_but_tells_what_it_is_now(
    repo: Path, checkpoint: Path
) -> None:
    match = r"set train\.start to .*dvc:[0-9a-f]{32}\.dir, in params\.yaml"
    with pytest.raises(GanpipeError, match=match) as raised:
        stages.run("start", only(str(checkpoint)), repo)
    assert not (repo / "data").exists()
    told = re.search(r"dvc:\w+\.dir", str(raised.value))
    assert told is not None
    # and a run that would end before its checkpoint is refused before others compute for it
    short = params.override(only(told[0]), ["train.kimg=2"])
    with pytest.raises(GanpipeError, match=r"train\.kimg=2 .* 2 kimg"):
        stages.run("start", short, repo)
    stages.run("start", params.override(short, ["train.start_counter=restart"]), repo)


def test_a_run_is_named_by_its_id_or_its_folder(repo: Path) -> None:
    made = repo / ".ganpipe" / "workspaces" / "20260101-run"
    made.mkdir(parents=True)
    out = {"path": "checkpoints", "hash": "md5", "md5": ADDRESS.removeprefix("dvc:")}
    lock = {"schema": "2.0", "stages": {"train": {"cmd": "x", "outs": [{"path": "model"}, out]}}}
    (made / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    with pytest.raises(GanpipeError, match=r"20260101-run has not finished the stage train"):
        checkpoints.address("20260101-run", repo)
    (made / "checkpoints").mkdir()
    for name in ("20260101-run", str(made), ".ganpipe/workspaces/20260101-run"):
        assert checkpoints.address(name, repo) == ADDRESS
    with pytest.raises(GanpipeError, match=r"train\.start=2026 names no .*newest: 20260101-run"):
        checkpoints.address("2026", repo)


@pytest.mark.parametrize("start", ["dvc:123.dir", "Scratch", "no/such/folder", "models:/ganpipe"])
def test_what_names_no_checkpoint_is_refused_with_what_would(repo: Path, start: str) -> None:
    with pytest.raises(GanpipeError, match=r"models:/name@alias|models:/NAME@ALIAS"):
        checkpoints.address(start, repo)


def test_naming_a_checkpoint_loads_neither_torch_nor_mlflow(repo: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ganpipe import stages; "
        "from ganpipe.params import Params; stages.run('start', Params(), Path(sys.argv[1])); "
        "sys.exit(' '.join({'torch', 'mlflow', 'dvc'} & sys.modules.keys()) or 0)"
    )
    command = [sys.executable, "-c", program, str(repo)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (repo / "data" / "start" / "scratch").is_file()
