"""A registered generator loads anywhere, without a pickle, and makes the same images."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganpipe import serving
from ganpipe.networks import Generator, load_generator, sample
from ganpipe.packaging import package
from tests.service.versions import NAME, Versions, save

# run with the packaged model alone: prints the images' digest and what was imported
SCRIPT = """
import hashlib, sys
import mlflow.pyfunc
model = mlflow.pyfunc.load_model(sys.argv[1])
params = {"n": 70, "seed": 5, "label": 1, "truncation": 0.7}
images = model.predict(None, params=params)
print(images.dtype, images.shape, hashlib.sha256(images.tobytes()).hexdigest())
print(sys.modules["ganpipe"].__file__)
print(sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packaged generator with classes."""
    folder = tmp_path_factory.mktemp("packaged")
    save(folder / "workspace", 1)
    package(folder / "workspace", folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def generator(model: Path) -> Generator:
    return load_generator(model / "artifacts/generator")


def run(python: str, model: Path, folder: Path) -> list[str]:
    """What the script prints in a process that knows nothing of this repository."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    env = {**kept, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, "-P", "-c", SCRIPT, str(model)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def digest(generator: Generator) -> str:
    import hashlib

    images = serving.generate(generator, 70, 5, label=1, truncation=0.7)
    return f"uint8 (70, 8, 8, 3) {hashlib.sha256(images.tobytes()).hexdigest()}"


def test_it_loads_where_pickle_is_forbidden_and_makes_the_same_bytes(
    model: Path, generator: Generator, tmp_path: Path
) -> None:
    images, code, imported = run(sys.executable, model, tmp_path)
    assert images == digest(generator)
    assert code == str(model / "code/ganpipe/__init__.py")
    assert not {"prefect", "dvc"} & set(json.loads(imported.replace("'", '"')))


@pytest.mark.slow
def test_a_new_environment_with_its_requirements_alone_makes_the_same_bytes(
    model: Path, generator: Generator, tmp_path: Path
) -> None:
    python = str(tmp_path / "environment/bin/python")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "environment")], check=True)
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "-r",
        str(model / "requirements.txt"),
    ]
    subprocess.run(install, cwd=tmp_path, check=True)
    assert run(python, model, tmp_path)[0] == digest(generator)


def test_its_requirements_are_pinned_and_no_more_than_it_needs(model: Path) -> None:
    lines = (model / "requirements.txt").read_text().splitlines()
    names = dict(line.split("==") for line in lines)
    assert set(names) == {"mlflow", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "torch"}
    assert not [version for version in names.values() if "+" in version]


def test_its_signature_names_what_can_be_asked_for(model: Path) -> None:
    from mlflow.models import get_model_info

    signature = get_model_info(str(model)).signature
    assert {each.name: each.default for each in signature.params} == {
        "n": 1,
        "seed": 0,
        "label": -1,
        "truncation": 1.0,
    }
    (output,) = signature.outputs.inputs
    assert (output.type, output.shape) == (np.dtype("uint8"), (-1, 8, 8, 3))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=4), st.integers(0, 2**63 - 1))
def test_an_image_depends_on_its_seed_and_number_alone(
    generator: Generator, parts: list[int], seed: int
) -> None:
    """Not on how many are asked for, nor on how a request is split."""
    whole = serving.generate(generator, sum(parts), seed, truncation=0.8)
    first = 0
    for count in parts:
        part = sample(generator, count, seed, truncation=0.8, first=first)
        assert (part == whole[first : first + count]).all()
        first += count
    assert (serving.generate(generator, parts[0], seed, truncation=0.8) == whole[: parts[0]]).all()


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_damaged_weights_are_refused(tmp_path: Path, damage: str) -> None:
    save(tmp_path / "workspace", 1)
    package(tmp_path / "workspace", tmp_path / "model")
    weights = tmp_path / "model/artifacts/generator/generator.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(
        content[:-1] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1])
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "model")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "generator.safetensors is damaged: its sha256 is" in done.stderr


@pytest.fixture
def scoring_server(tmp_path: Path, free_port: int) -> Iterator[tuple[str, Versions]]:
    """`mlflow models serve` of a champion, as anybody would start it."""
    versions = Versions(tmp_path)
    versions.register(1)
    versions.move("1")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", f"models:/{NAME}@champion", "--host", "127.0.0.1", "-p", str(free_port)]
    env = {**os.environ, "MLFLOW_TRACKING_URI": versions.uri, "OMP_NUM_THREADS": "1"}
    env |= {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    log = tmp_path / "serve.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=output, stderr=output, start_new_session=True
        )
    address = f"http://127.0.0.1:{free_port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                if httpx.get(f"{address}/ping").status_code == 200:
                    break
            except httpx.TransportError:
                assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.3)
        yield address, versions
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.integration
def test_mlflow_models_serve_answers(scoring_server: tuple[str, Versions]) -> None:
    address, versions = scoring_server

    def ask(**params: object) -> httpx.Response:
        body = {"inputs": [], "params": params}
        return httpx.post(f"{address}/invocations", json=body, timeout=60)

    answer = ask(n=3, seed=7, label=2, truncation=0.5)
    assert answer.status_code == 200
    expected = serving.generate(versions.generators["1"], 3, 7, label=2, truncation=0.5)
    assert answer.json()["predictions"] == expected.tolist()
    for params, message in (({"n": 0}, "n=0: ask for 1"), ({"label": 9}, "label=9: use -1")):
        refused = ask(**params)
        assert refused.status_code == 400
        assert message in refused.text
