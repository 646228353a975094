"""Versions of the real pipeline: rebuilt from scratch to the same bytes, and in a fresh clone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Checkout

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Checkout:
    """Two versions trained on the digits, the second with edited code; both on a remote."""
    folder = tmp_path_factory.mktemp("digits")
    made = Checkout.of(repository_root, folder / "check out", [])
    made.call("ganpipe", "init", "--remote", str(folder / "remote"))
    made.call("ganpipe", "run")
    code = made.folder / "ganpipe" / "words_of_a_test.py"
    code.write_text('"""An edit that was not committed."""\n', encoding="utf-8")
    made.call("ganpipe", "run", "--set", "train.seed=2")
    for workspace in sorted((made.folder / ".ganpipe" / "workspaces").iterdir()):
        made.call("dvc", "--cd", str(workspace), "push")
    return made


def identical(said: str) -> set[str]:
    return {
        line.removesuffix(": identical")
        for line in said.splitlines()
        if line.endswith(": identical")
    }


OUTPUTS = {
    *("data/start", "data/raw", "data/train", "data/test", "data/report", "data/reference"),
    *("model", "checkpoints", "report"),
}


def test_both_versions_verify_and_tell_their_lineage(checkout: Checkout) -> None:
    for number in ("1", "2"):
        checkout.call("ganpipe", "verify", number)
        checkout.call("ganpipe", "verify", number, "--thorough")
    known: dict[str, Any] = json.loads(checkout.call("ganpipe", "lineage", "2", "--json").stdout)
    assert known["source"]["count"] == known["manifest"]["count"] == 1797
    assert known["changed"]["train.seed"] == 2
    assert known["code"]["dirty"]
    assert "words_of_a_test.py" in known["code"]["patch"]
    assert known["data"]["train"]["sha256"] == known["protocol"]["dataset_sha256"]


def test_from_scratch_on_the_same_machine_gives_identical_bytes(checkout: Checkout) -> None:
    said = checkout.call("ganpipe", "reproduce", "2", "--from-scratch", "--verify").stdout
    assert identical(said) == OUTPUTS
    assert said.count("Running stage") == 6


def test_version_1_comes_back_in_a_fresh_clone_from_the_remote_alone(
    checkout: Checkout, tmp_path: Path
) -> None:
    clone = checkout.clone(tmp_path / "clone")
    clone.call("ganpipe", "init", "--remote", str(checkout.folder.parent / "remote"))
    database = checkout.folder / ".ganpipe" / "mlflow" / "mlflow.db"
    uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{database}"}
    for number in ("1", "2"):
        assert not (clone.folder / ".ganpipe" / "cache" / "files").exists() or number == "2"
        said = clone.call("ganpipe", "reproduce", number, "--verify", **uri).stdout
        assert identical(said) == OUTPUTS


def test_two_versions_are_compared_with_pictures(checkout: Checkout, tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    said = checkout.call("ganpipe", "diff", "1", "2", "--out", str(page)).stdout
    assert "train.seed: 1 -> 2" in said or "train.seed: 0 -> 2" in said
    assert "data: the same" in said
    assert page.with_suffix(".png").stat().st_size > 1000


def test_dvc_compares_two_revisions_that_adopted_runs(checkout: Checkout, tmp_path: Path) -> None:
    first, second, *_ = sorted((checkout.folder / ".ganpipe" / "workspaces").iterdir())
    for workspace in (first, second):
        checkout.call("ganpipe", "adopt", workspace.name)
        checkout.git("add", "dvc.lock", "params.yaml", "data/source.json")
        checkout.git("commit", "-m", workspace.name)
    said = json.loads(checkout.call("dvc", "metrics", "diff", "HEAD~1", "HEAD", "--json").stdout)
    kept = (
        json.loads((each / "report" / "metrics.json").read_text(encoding="utf-8"))["fid_lite0_64"]
        for each in (first, second)
    )
    told = said["report/metrics.json"]["fid_lite0_64"]
    assert (told["old"], told["new"]) == tuple(kept)
    checkout.call("dvc", "plots", "diff", "HEAD~1", "HEAD", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")
    assert "loss_generator" in page or "curves.csv" in page
    assert sorted((tmp_path / "plots").rglob("*samples.png"))
