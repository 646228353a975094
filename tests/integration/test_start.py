"""`ganpipe run --set train.start=...`: a champion trained on, its lineage, the same elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ganpipe import lineage, params, tracking
from ganpipe.files import read_json

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@dataclass(frozen=True)
class Extended:
    """A checkout with a remote, a run of 2 kimg, and one that went on from its champion to 3."""

    checkout: Any
    first: Path
    second: Path


def run(checkout: Any, *assignments: str) -> Path:
    """The workspace of a `ganpipe run`."""
    chosen = [part for each in assignments for part in ("--set", each)]
    said = checkout.call("ganpipe", "run", *chosen).stdout
    found = re.search(r"^run\s+([^,]+),", said, re.MULTILINE)
    assert found is not None, said
    workspace: Path = checkout.folder / ".ganpipe" / "workspaces" / found[1]
    return workspace


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory, checkout_of_this_code: Any) -> Extended:
    folder = tmp_path_factory.mktemp("start")
    # without the quick FIDs, of which the best chooses, the last state is the checkpoint
    checkout = checkout_of_this_code(folder / "check out", ["train.snapshot_samples=0"])
    checkout.call("ganpipe", "init", "--remote", str(folder / "remote"))
    first = run(checkout)
    second = run(checkout, "train.start=models:/ganpipe@champion", "train.kimg=3")
    return Extended(checkout, first, second)


def address(workspace: Path) -> str:
    found = lineage.checkpoint((workspace / "dvc.lock").read_text(encoding="utf-8"))
    assert found is not None
    return found


def test_the_run_records_the_bytes_it_began_from_and_the_version_they_belong_to(
    extended: Extended,
) -> None:
    assert params.load(extended.second / "params.yaml").train.start == address(extended.first)
    began = sorted((extended.second / "data" / "start").iterdir())
    assert [path.name for path in began] == ["state.json", "state.safetensors"]
    for path in began:
        assert path.read_bytes() == (extended.first / "checkpoints" / path.name).read_bytes()
    database = extended.checkout.folder / ".ganpipe" / "mlflow" / "mlflow.db"
    client = tracking.connect(f"sqlite:///{database}")
    tags = client.get_model_version("ganpipe", "2").tags
    assert tags["ganpipe.start"] == address(extended.first)
    assert tags["ganpipe.start_version"] == "models:/ganpipe/1"
    assert tags["ganpipe.checkpoint"] == address(extended.second)


def test_it_gives_the_bytes_of_the_run_that_was_that_long_from_the_start(
    extended: Extended,
) -> None:
    longer = run(extended.checkout, "train.kimg=3")
    assert params.load(longer / "params.yaml").train.start == "scratch"
    for name in ("checkpoints/state.safetensors", "model/generator.safetensors"):
        assert (longer / name).read_bytes() == (extended.second / name).read_bytes(), name
    shown = [read_json(each / "checkpoints" / "state.json") for each in (longer, extended.second)]
    assert shown[0]["images"] == shown[1]["images"] >= 3000


def test_a_fresh_clone_reproduces_it_with_the_remote_alone(
    extended: Extended, tmp_path: Path
) -> None:
    checkout = extended.checkout
    checkout.call("ganpipe", "adopt", extended.second.name)
    checkout.call("dvc", "checkout")
    checkout.call("dvc", "push")
    checkout.commit("the extended run")
    clone = checkout.clone(tmp_path / "clone")
    refused = clone.call("dvc", "repro", "start", check=False)
    assert refused.returncode != 0
    assert f"{address(extended.first)} is neither in DVC's cache" in refused.stderr
    remote = str(checkout.folder.parent / "remote")
    clone.call("ganpipe", "init", "--remote", remote)
    assert "Running stage 'train'" in clone.call("dvc", "repro", "train").stdout
    made, wanted = clone.outputs(), checkout.outputs(extended.second)
    assert {name.partition("/")[0] for name in made} == {"data", "model", "checkpoints"}
    assert [name for name in made if made[name] != wanted[name]] == []
    clone.call("dvc", "pull")
    assert "up to date" in clone.call("dvc", "status").stdout
    assert clone.outputs() == wanted
