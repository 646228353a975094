"""The five stages under plain `dvc repro`: no Prefect, no MLflow, the same bytes every time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ganpipe import params
from ganpipe.files import read_json

pytestmark = pytest.mark.integration

SMALL = [
    "train.kimg=2",
    "train.tick_kimg=0.5",
    "train.snapshot_kimg=1",
    "evaluate.samples=64",
    "model.width=8",
    "train.threads=1",
    "evaluate.threads=1",
]
OUTPUTS = [
    "data/raw",
    "data/train",
    "data/test",
    "data/reference",
    "model",
    "checkpoints",
    "report",
]


def _checkout(source: Path, folder: Path) -> Path:
    """A fresh checkout of the code as it stands, edits included, with small parameters."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)
    params.write(params.override(params.Params(), SMALL), folder / "params.yaml")
    _git(folder, "init", "-q", "-b", "main")
    _git(folder, "add", "-A")
    _git(folder, "commit", "-q", "-m", "code")
    return folder


def _git(folder, *arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def _call(folder, *command, check=True):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder / ".ganpipe" / "site"),
        "GANPIPE_STATE": str(folder / ".ganpipe"),
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def _bytes(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for output in OUTPUTS
        for path in sorted((folder / output).rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory, repository_root):
    """A checkout in which `dvc repro` has run once."""
    folder = _checkout(repository_root, tmp_path_factory.mktemp("check out"))
    done = _call(folder, "dvc", "repro")
    for stage in ("ingest", "preprocess", "reference", "train", "evaluate"):
        assert f"Running stage '{stage}'" in done.stdout
    return folder


def test_a_second_repro_does_nothing(reproduced):
    done = _call(reproduced, "dvc", "repro")
    assert "Running stage" not in done.stdout
    assert "Data and pipelines are up to date." in done.stdout


def test_every_output_is_there_and_git_sees_none_of_them(reproduced):
    for output in OUTPUTS:
        assert (reproduced / output).is_dir()
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=reproduced, capture_output=True, text=True, check=True
    )
    assert changed.stdout == "?? dvc.lock\n"


def test_two_checkouts_with_empty_caches_give_the_same_bytes(reproduced, tmp_path, repository_root):
    other = _checkout(repository_root, tmp_path / "other")
    _call(other, "dvc", "repro")
    first, second = _bytes(reproduced), _bytes(other)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert len(first) > 20


def test_the_metrics_carry_their_protocol(reproduced):
    metrics = read_json(reproduced / "report" / "metrics.json")
    protocol = metrics["protocol"]
    assert protocol["metric"] == "fid_lite0_64"
    assert metrics["fid_lite0_64"] > metrics["floor_fid_lite0_64"] > 0
    assert len(protocol["weights_sha256"]) == len(protocol["reference_sha256"]) == 64
    assert {"resize", "precision", "samples", "reals", "split", "seed"} <= protocol.keys()


def test_dag_metrics_and_plots_show(reproduced):
    assert "evaluate" in _call(reproduced, "dvc", "dag").stdout
    shown = json.loads(_call(reproduced, "dvc", "metrics", "show", "--json").stdout)
    (metrics,) = shown[""]["data"].values()
    assert metrics["data"]["fid_lite0_64"] > 0
    page = _call(reproduced, "dvc", "plots", "show").stdout.strip()
    assert "loss_generator" in Path(unquote(urlsplit(page).path)).read_text()


def test_push_here_and_pull_in_a_fresh_clone(reproduced, tmp_path):
    store = tmp_path / "store"
    _call(reproduced, "ganpipe", "init", "--remote", str(store))
    _git(reproduced, "add", "dvc.lock")
    _git(reproduced, "commit", "-q", "-m", "lock")
    _call(reproduced, "dvc", "push")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(reproduced), str(clone)], check=True)
    assert not (clone / ".ganpipe").exists()
    _call(clone, "ganpipe", "init", "--remote", str(store))
    _call(clone, "dvc", "pull")
    assert _bytes(clone) == _bytes(reproduced)
    assert "up to date" in _call(clone, "dvc", "repro").stdout


def test_a_changed_source_asks_for_a_refresh(reproduced, tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(reproduced), str(clone)], check=True)
    source = clone / "data" / "source.json"
    source.write_text(source.read_text().replace('"count": 1797', '"count": 1796'))
    done = _call(clone, "dvc", "repro", "ingest", check=False)
    assert done.returncode != 0
    assert "ganpipe refresh" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (clone / "data" / "raw").exists()
