"""An exported generator makes the images of the one it came from, for any number at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ganpipe import export
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.networks import (
    ARCHITECTURES,
    Generator,
    NetworkConfig,
    build_generator,
    load_generator,
    save_generator,
)
from tests.service.versions import CLASSES, save


@pytest.mark.parametrize("classes", [[], ["cat", "dog", "owl"]])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_makes_the_same_images(
    tmp_path: Path, architecture: str, classes: list[str]
) -> None:
    if classes and architecture.startswith("article-"):
        pytest.skip("published without classes")
    onnxruntime = pytest.importorskip("onnxruntime")
    config = NetworkConfig(architecture, 16, 8, 16, 16, 16, 3, classes=len(classes))
    torch.manual_seed(0)
    network = build_generator(config)
    with torch.no_grad():  # what fix-up begins as zero would hide a branch that is wrong
        for weights in network.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    counts = [1] * len(classes)
    save_generator(tmp_path, Generator(network, config, classes, 1000, counts))
    assert export.to_onnx(tmp_path, tmp_path / "out.onnx", "some/model") <= 1e-4

    session = onnxruntime.InferenceSession(tmp_path / "out.onnx")
    loaded = load_generator(tmp_path)
    for n in (1, 5, 33):
        inputs = {"latents": np.random.default_rng(n).normal(size=(n, 16)).astype(np.float32)}
        if classes:
            inputs["labels"] = np.arange(n) % 3
        (images,) = session.run(None, inputs)
        with torch.inference_mode():
            ours = loaded.network(*map(torch.from_numpy, inputs.values())).numpy()
        assert images.shape == (n, 3, 16, 16)
        assert images.dtype == np.float32
        assert float(ours.std()) > 0.01
        np.testing.assert_allclose(images, ours, atol=1e-4, rtol=0)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = save(tmp_path, 1)
    out = tmp_path / "out.onnx"
    command = [sys.executable, "-m", "ganpipe", "export", str(model), "--out", str(out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{out}: differs from PyTorch by at most ")
    assert done.stderr == ""
    loaded = onnx.load(out)
    onnx.checker.check_model(loaded, full_check=True)
    told = {each.key: each.value for each in loaded.metadata_props}
    assert told["ganpipe.generator_sha256"] == sha256(model / "generator.safetensors")
    assert json.loads(told["ganpipe.classes"]) == CLASSES
    assert told["ganpipe.value_range"].startswith("[-1, 1]")
    assert told["ganpipe.latents"] == "float32 [n, 16], standard normal"
    assert told["ganpipe.source"] == str(model)
    assert [each.name for each in loaded.graph.input] == ["latents", "labels"]
    assert [path.name for path in tmp_path.iterdir()] == ["model", "report", "out.onnx"]


def test_a_difference_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(GanpipeError, match="nothing was written"):
        export.to_onnx(save(tmp_path, 1), tmp_path / "out.onnx", "m")
    assert not list(tmp_path.glob("*.onnx*"))


def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "NEEDED", ("no_such_package",))
    with pytest.raises(GanpipeError, match=r"no_such_package not installed.*ganpipe\[onnx\]"):
        export.to_onnx(save(tmp_path, 1), tmp_path / "out.onnx", "m")
