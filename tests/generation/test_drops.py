"""Near duplicates and copies of training images are dropped, counted and replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ganpipe.data.dataset import Dataset
from ganpipe.data.near import near_duplicates
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.real_images import make_reference
from ganpipe.files import write_json
from ganpipe.generation import samples
from ganpipe.generation.copies import Copies
from ganpipe.generation.drops import NearDuplicates, hashes_of
from ganpipe.networks import load_generator
from ganpipe.params import EvaluateParams, Params, write
from ganpipe.serving import generate as sampled
from tests.generation.conftest import Make, content, make_model
from tests.generation.test_job import interrupted


def pixels(folder: Path) -> NDArray[np.uint8]:
    found = Dataset(folder)
    return found.batch(np.arange(len(found)))


def test_near_duplicates_are_those_that_an_ingest_would_set_aside() -> None:
    bits = np.random.default_rng(0)
    hashes = bits.integers(0, 2**64, 40, dtype=np.uint64).repeat(5)
    hashes ^= np.uint64(1) << bits.integers(0, 64, 200, dtype=np.uint64)
    hashes ^= np.uint64(1) << bits.integers(0, 64, 200, dtype=np.uint64)
    labels = bits.integers(0, 2, 200).tolist()
    near = NearDuplicates(4, 200)
    found = []
    for number, (each, label) in enumerate(zip(hashes.tolist(), labels, strict=True)):
        if near.repeats(each, label):
            found.append(number)
        else:
            near.keep([each], [label])
    expected = near_duplicates(hashes, ["train"] * 200, list(map(str, labels)), 4, across=False)
    assert found == sorted(expected)
    assert 50 < len(found) < 150


def test_near_duplicates_are_replaced_and_counts_stay_exact(
    classy: Path, tmp_path: Path, make: Make
) -> None:
    asked: dict[str, Any] = {"n": 300, "classes": "balanced", "format": "shards", "rows": 64}
    asked |= {"filter": "near-duplicates", "near_distance": 8}
    written = make(classy, tmp_path / "out", **asked)
    assert written.description["dropped"]["near-duplicates"] > 0
    found = Dataset(tmp_path / "out")
    assert found.labels is not None
    assert np.bincount(found.labels).tolist() == [100, 100, 100]
    hashes = np.array(hashes_of(pixels(tmp_path / "out")), dtype=np.uint64)
    labels = [str(label) for label in found.labels]
    assert near_duplicates(hashes, ["train"] * 300, labels, 8, across=False) == {}


def test_every_image_is_the_sample_with_its_number(plain: Path, tmp_path: Path, make: Make) -> None:
    make(plain, tmp_path / "out", n=150, filter="near-duplicates", near_distance=8)
    lines = (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()
    numbers = [json.loads(line)["number"] for line in lines]
    assert max(numbers) >= 150
    assert len(set(numbers)) == 150
    make(plain, tmp_path / "all", n=max(numbers) + 1)
    out, every = content(tmp_path / "out"), content(tmp_path / "all")
    for place, number in enumerate(numbers):
        assert out[f"{place:05d}.png"] == every[f"{number:05d}.png"]


def test_a_filtered_request_that_was_interrupted_ends_with_the_same_bytes(
    classy: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # small rounds, so that parts end between them
    monkeypatch.setattr(samples, "FILTERED_BATCHES", 1)
    asked: dict[str, Any] = {"n": 250, "format": "shards", "filter": "near-duplicates"}
    make(classy, tmp_path / "whole", **asked, near_distance=8, rows=64)
    interrupted(make, monkeypatch, classy, tmp_path / "out", **asked, near_distance=8)
    again = make(classy, tmp_path / "out", **asked, near_distance=8, rows=64)
    assert 0 < again.made < 250
    assert again.description["dropped"]["near-duplicates"] > 0
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_generator_with_too_little_variety_is_said_to_have_it(tmp_path: Path, make: Make) -> None:
    folder = make_model(tmp_path / "model", [])
    generator = load_generator(folder)
    from ganpipe.networks import save_generator

    with torch.no_grad():
        for parameter in generator.network.parameters():
            parameter.zero_()
    save_generator(folder, generator)
    with pytest.raises(GanpipeError, match=r"after 1 images 50 samples in a row .*near-dup"):
        make(folder, tmp_path / "out", n=10, filter="near-duplicates")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def workspace(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose training set holds a few samples of its generator, like a generator that
    has learnt them by heart."""
    root = tmp_path_factory.mktemp("workspace")
    make_model(root / "model", [])
    generator = load_generator(root / "model")
    learnt = sampled(generator, 40, 0)[:30:6]
    by_heart = learnt ^ (np.random.default_rng(0).random(learnt.shape) < 0.05)
    real = {"train": [learnt[:2], by_heart[2:], sampled(generator, 300, 1)]}
    real["test"] = [sampled(generator, 100, 2)]
    for name, part in real.items():
        folder = root / "data" / name
        folder.mkdir(parents=True)
        every = np.concatenate(part).astype(np.uint8)
        np.save(folder / "images-00000.npy", every)
        about = {"height": 8, "width": 8, "channels": 1, "classes": [], "count": len(every)}
        write_json(folder / "dataset.json", {**about, "sha256": f"{name} 1"})
    evaluate = EvaluateParams(threads=1, samples=100, usefulness="never")
    write(Params(evaluate=evaluate), root / "params.yaml")
    train, test = Dataset(root / "data" / "train"), Dataset(root / "data" / "test")
    make_reference(train, test, evaluate, root / "data" / "reference")
    return root


def test_copies_of_training_images_are_dropped_and_replaced(
    workspace: Path, tmp_path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {"n": 40, "filter": "memorised"}
    written = make(workspace / "model", tmp_path / "out", **asked)
    said = capsys.readouterr().out
    assert f"held against the training images in {workspace}" in said.partition("making images")[0]
    assert 5 <= written.description["dropped"]["memorised"] <= 10
    lines = (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()
    numbers = {json.loads(line)["number"] for line in lines}
    assert len(numbers) == 40
    assert not numbers & set(range(0, 30, 6))
    assert written.description["request"]["against"]["dataset_sha256"] == "train 1"


def test_few_unseen_images_would_be_called_copies(workspace: Path, tmp_path: Path) -> None:
    copies = Copies(workspace, tmp_path)
    test = pixels(workspace / "data" / "test")
    train = pixels(workspace / "data" / "train")
    assert copies.among(test).mean() <= 0.05
    assert copies.among(train).all()


def test_without_its_training_set_nothing_is_called_memorised(
    plain: Path, tmp_path: Path, make: Make
) -> None:
    with pytest.raises(GanpipeError, match=r"needs the training set: .* holds no data/train"):
        make(plain, tmp_path / "out", filter="both")
    assert list(tmp_path.iterdir()) == []
