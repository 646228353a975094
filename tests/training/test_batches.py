"""Batches: a pure function of how many images were shown, read ahead or not."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from ganpipe import randomness
from ganpipe.data.dataset import Dataset
from ganpipe.training.batches import Batches
from ganpipe.training.distributed import World


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 4, 3), np.uint8)
    for number, part in enumerate(np.split(images, [20, 33])):
        np.save(tmp_path / f"images-{number:05d}.npy", part)
    about = {"height": 8, "width": 4, "channels": 3, "classes": [], "sha256": "", "count": 50}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    return Dataset(tmp_path)


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_a_batch_is_what_the_counters_say(data: Dataset) -> None:
    real, latents, labels, draws = Batches(data, 3, 16, 5).at(48)
    assert labels is None
    assert draws is None
    numbers = randomness.draw_order(3, "reals", 48, 16, 50)
    expected = data.batch(numbers).transpose(0, 3, 1, 2) / 127.5 - 1
    assert real.shape == (16, 3, 8, 4)
    assert real.dtype == latents.dtype == torch.float32
    assert np.abs(real.numpy() - expected).max() < 1e-6
    assert np.array_equal(latents.numpy(), randomness.normals(3, "latents", 48, 16, 5))
    assert real.min() >= -1
    assert real.max() <= 1
    assert real.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "asked",
    [
        [0, 16, 32, 48, 64],  # as in training
        [160, 176, 192],  # resumed
        [0, 16, 160, 176, 0, 0, 16],  # jumps and repeats
    ],
)
def test_read_ahead_is_the_same(data: Dataset, asked: list[int]) -> None:
    classes = np.arange(50) % 7
    plain = Batches(data, 3, 16, 5, labels=classes, draws=3, ahead=False)
    ahead = Batches(data, 3, 16, 5, labels=classes, draws=3, ahead=True)
    for shown in asked:
        for one, other in zip(plain.at(shown), ahead.at(shown), strict=True):
            assert torch.equal(one, other)
    ahead.close()
    plain.close()


def test_the_next_batch_is_read_while_this_one_is_used(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[int, str]] = []
    really = Batches._read
    twice = threading.Semaphore(0)

    def watched(self: Batches, shown: int) -> dict[str, torch.Tensor]:
        read.append((shown, threading.current_thread().name))
        found = really(self, shown)
        twice.release()
        return found

    monkeypatch.setattr(Batches, "_read", watched)
    batches = Batches(data, 3, 16, 5, ahead=True)
    batches.at(0)
    assert twice.acquire(timeout=10)
    assert twice.acquire(timeout=10)
    assert [shown for shown, _ in read] == [0, 16]
    batches.at(16)
    batches.close()
    assert [shown for shown, _ in read[:3]] == [0, 16, 32][: len(read)]
    assert {name for _, name in read} == {"batches_0"}  # one thread: a data set is not shared


def test_closing_ends_the_thread(data: Dataset) -> None:
    batches = Batches(data, 3, 16, 5, ahead=True)
    batches.at(0)
    assert len(readers()) == 1
    batches.close()
    assert readers() == []
    quiet = Batches(data, 3, 16, 5)
    quiet.at(0)
    assert readers() == []
    quiet.close()


def test_what_goes_wrong_in_the_thread_is_told(data: Dataset) -> None:
    batches = Batches(data, 3, 16, 5, ahead=True)
    batches.at(0)
    data.shards = []
    with pytest.raises(IndexError):
        for shown in (16, 32):
            batches.at(shown)
    batches.close()


def test_labels_belong_to_their_images(data: Dataset) -> None:
    classes = np.random.default_rng(1).integers(0, 9, 50)
    batch = Batches(data, 3, 16, 5, labels=classes).at(48)
    numbers = randomness.draw_order(3, "reals", 48, 16, 50)
    assert batch.labels is not None
    assert np.array_equal(batch.labels.numpy(), classes[numbers])


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("shown", [0, 48])  # 48: through the end of an epoch
def test_any_number_of_processes_shows_the_same_batch(data: Dataset, size: int, shown: int) -> None:
    classes = np.arange(50) % 7
    whole = Batches(data, 3, 16, 5, labels=classes, draws=9).at(shown)
    shares = [
        Batches(data, 3, 16, 5, labels=classes, draws=9, world=World(rank, size)).at(shown)
        for rank in range(size)
    ]
    assert {len(share.real) for share in shares} == {16 // size}
    for together, parts in zip(whole, zip(*shares, strict=True), strict=True):
        assert torch.equal(torch.cat(parts), together)


def test_only_the_share_is_read(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    really = data.batch
    monkeypatch.setattr(
        data, "batch", lambda numbers: asked.append(len(numbers)) or really(numbers)
    )
    Batches(data, 3, 16, 5, world=World(1, 4)).at(0)
    assert asked == [4]
