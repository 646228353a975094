"""A registered generator: the version that was used is written down, and a moved alias noticed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ganpipe.errors import GanpipeError
from ganpipe.files import sha256, write_json
from ganpipe.generation import Written, generate
from ganpipe.generation.copies import training_set
from ganpipe.generation.request import prepare
from ganpipe.params.generate import generate_params
from ganpipe.workspace import git, state_folder
from tests.generation.conftest import make_model


class Registry:
    """A repository whose registry has two versions, version 1 the champion."""

    def __init__(self, root: Path, database: Path) -> None:
        self.repo = root / "repo"
        self.repo.mkdir()
        git(self.repo, "init", "--quiet", "--template=")
        self.uri = f"sqlite:///{shutil.copy(database, root / 'mlflow.db')}"
        self.client = MlflowClient(self.uri, self.uri)
        self.client.create_registered_model("ganpipe")
        for number in (1, 2):
            stored = root / f"version{number}" / "artifacts"
            make_model(stored / "generator", ["a", "b"][: 2 * (number - 1)])
            weights = stored / "generator" / "generator.safetensors"
            tags = {"ganpipe.generator_sha256": sha256(weights), "ganpipe.dataset_sha256": "d1"}
            self.client.create_model_version("ganpipe", str(stored.parent), tags=tags)
        self.client.set_registered_model_alias("ganpipe", "champion", "1")

    def make(self, **values: Any) -> Written:
        asked = {"destination": str(self.repo / "out"), "threads": 1} | values
        return generate(generate_params(**asked), self.repo)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's empty tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_registered_models()
    return path


@pytest.fixture
def registry(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.delenv("GANPIPE_STATE", raising=False)
    made = Registry(tmp_path, database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    return made


def test_the_version_that_an_alias_meant_is_written_down(registry: Registry) -> None:
    about = registry.make().description
    assert (about["model"], about["version"]) == ("models:/ganpipe@champion", "models:/ganpipe/1")
    tags = registry.client.get_model_version("ganpipe", "1").tags
    assert about["generator_sha256"] == tags["ganpipe.generator_sha256"]
    assert registry.make(model="models:/ganpipe/1").made == 0  # the same generator by its number


def test_an_alias_that_moved_is_another_request(registry: Registry) -> None:
    registry.make()
    registry.client.set_registered_model_alias("ganpipe", "champion", "2")
    with pytest.raises(GanpipeError, match=r"holds images of another request .*generator_sha256="):
        registry.make()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/ganpipe/9", "has no version 9: versions 1, 2"),
        ("models:/ganpipe@best", "has no alias best"),
        ("models:/other@champion", "there is no model other"),
        ("models:ganpipe", "write models:/"),
    ],
)
def test_an_unknown_version_or_alias_is_refused(
    registry: Registry, model: str, message: str
) -> None:
    with pytest.raises(GanpipeError, match=message):
        registry.make(model=model)
    assert not (registry.repo / "out").exists()


def test_damaged_weights_of_a_version_are_refused(registry: Registry, tmp_path: Path) -> None:
    stored = tmp_path / "version1" / "artifacts" / "generator" / "generator.safetensors"
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(GanpipeError, match="is damaged: its sha256 is not"):
        registry.make()
    assert not (registry.repo / "out").exists()


def test_a_server_that_is_down_is_named(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port}")
    with pytest.raises(GanpipeError, match="does not answer"):
        registry.make()


def test_the_training_set_is_found_by_its_digest_in_any_workspace(registry: Registry) -> None:
    params = generate_params(filter="memorised", threads=1)
    request = prepare(params, state_folder(registry.repo))
    with pytest.raises(GanpipeError, match="ganpipe reproduce models:/ganpipe/1"):
        training_set(request, registry.repo)
    for name, digest in {"new": "d2", "old": "d1"}.items():
        place = state_folder(registry.repo) / "workspaces" / name / "data"
        (place / "reference").mkdir(parents=True)
        write_json(place / "train" / "dataset.json", {"sha256": digest})
    assert training_set(request, registry.repo).name == "old"
    shutil.rmtree(place / "reference")  # a run that was ended before
    with pytest.raises(GanpipeError, match="needs the training set"):
        training_set(request, registry.repo)
