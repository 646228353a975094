"""A request to a generator is checked, repeatable, and ends in whole folders or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganpipe import serving
from ganpipe.errors import GanpipeError
from ganpipe.networks import (
    Generator,
    NetworkConfig,
    build_generator,
    load_generator,
    save_generator,
)
from ganpipe.packaging import package


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    for name in ("model", "report"):
        (folder / name).mkdir()
    (folder / "report/metrics.json").write_text("{}")
    config = NetworkConfig("dcgan", 16, 4, 16, 8, 8, 1)
    torch.manual_seed(0)
    save_generator(folder / "model", Generator(build_generator(config), config, [], 1000))
    return folder


@pytest.fixture(scope="module")
def generator(workspace: Path) -> Generator:
    return load_generator(workspace / "model")


def test_the_same_seed_gives_the_same_images_whatever_the_number(generator: Generator) -> None:
    images = serving.generate(generator, 70, seed=3)
    assert images.shape == (70, 8, 8, 1)
    assert images.dtype == np.uint8
    assert (serving.generate(generator, 5, seed=3) == images[:5]).all()
    assert (serving.generate(generator, 5, seed=4) != images[:5]).any()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 1_000_001}, "1,000,000"),
        ({"n": 1, "seed": -1}, "seed=-1"),
        ({"n": 1, "truncation": 0.0}, "truncation=0.0"),
        ({"n": 1, "truncation": float("nan")}, "truncation=nan"),
        ({"n": 1, "label": 3}, "label=3"),
    ],
)
def test_a_request_out_of_bounds_is_named(
    generator: Generator, request_: dict[str, float], message: str
) -> None:
    with pytest.raises(GanpipeError, match=message):
        serving.generate(generator, **request_)  # type: ignore[arg-type]


def test_the_command_writes_png_files_and_one_grid_without_a_repository(
    generator: Generator, workspace: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "ganpipe", "generate", "--model", str(workspace / "model")]
    command += ["--n", "5", "--seed", "1", "--out", "some where/samples"]
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "some where" / "samples"
    assert done.stdout.splitlines()[-1] == f"5 images and grid.png in {out}"
    names = sorted(path.name for path in out.glob("*.png"))
    assert names == ["00000.png", "00001.png", "00002.png", "00003.png", "00004.png", "grid.png"]
    expected = serving.generate(generator, 5, seed=1)
    assert (np.asarray(Image.open(out / "00004.png")) == expected[4, :, :, 0]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["some where"]


def test_the_command_asks_for_one_class_or_for_counts_of_several(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganpipe", "generate", "--label=a", "--classes={b: 64}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--label a and --classes {b: 64}: name one of them" in done.stderr


def test_mlflow_serves_images_over_http(
    generator: Generator, workspace: Path, tmp_path: Path
) -> None:
    import mlflow.pyfunc
    from fastapi.testclient import TestClient
    from mlflow.pyfunc import scoring_server

    package(workspace, tmp_path / "model")
    client = TestClient(scoring_server.init(mlflow.pyfunc.load_model(str(tmp_path / "model"))))

    def ask(**params: object) -> tuple[int, dict[str, object]]:
        answer = client.post("/invocations", json={"inputs": [], "params": params})
        return answer.status_code, json.loads(answer.text)

    status, answer = ask(n=3, seed=7)
    assert status == 200
    assert answer["predictions"] == serving.generate(generator, 3, seed=7).tolist()
    status, answer = ask(n=0)
    assert status == 400
    assert "n=0: ask for 1" in str(answer)


def test_a_package_holds_no_pickle_and_its_own_code(workspace: Path, tmp_path: Path) -> None:
    package(workspace, tmp_path / "model")
    suffixes = {path.suffix for path in (tmp_path / "model").rglob("*") if path.is_file()}
    documents = {".txt", ".md", ".html"}
    assert suffixes <= {".py", ".json", ".safetensors", ".yaml", ".lock", "", *documents}
    assert (tmp_path / "model/code/ganpipe/networks/generator.py").is_file()
    requirements = (tmp_path / "model/requirements.txt").read_text().splitlines()
    assert {line.split("==")[0] for line in requirements} >= {"mlflow", "torch", "safetensors"}
    assert not [line for line in requirements if "+" in line]
