"""A classifier of Fashion-MNIST's ten classes, trained on the real images, to count modes with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy

from ganpipe import randomness
from ganpipe.data.dataset import Dataset
from ganpipe.files import replacing

BATCH, EPOCHS, RATE = 128, 6, 2e-3
BLOCK = 500


def network() -> nn.Module:
    """Grey images float [n, 1, 28, 28] to logits float [n, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(32), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(64), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip


def trained(dataset: Dataset, path: Path, steps: int | None = None) -> nn.Module:
    """The classifier in evaluation mode; trained once (`steps`: not to the end), then read."""
    torch.manual_seed(0)
    classifier = network().to(memory_format=torch.channels_last)
    if not path.exists():
        _train(classifier, dataset, steps or EPOCHS * len(dataset) // BATCH)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            save_file({k: v.contiguous() for k, v in classifier.state_dict().items()}, beside)
    classifier.load_state_dict(load_file(path))
    return classifier.eval()


def _train(classifier: nn.Module, dataset: Dataset, steps: int) -> None:
    labels = dataset.labels
    assert labels is not None
    adam = torch.optim.Adam(classifier.parameters(), RATE, fused=True)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    classifier.train()
    for step in range(steps):
        numbers = randomness.draw_order(0, "classifier", step * BATCH, BATCH, len(dataset))
        loss = cross_entropy(
            classifier(_scaled(dataset.batch(numbers))), torch.from_numpy(labels[numbers])
        )
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        falling.step()


def _scaled(pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


@torch.inference_mode()
def probabilities(classifier: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of the ten classes for each grey image uint8 [n, 28, 28, 1]: float32 [n, 10]."""
    parts = [
        classifier(_scaled(pixels[first : first + BLOCK])).softmax(dim=1).numpy()
        for first in range(0, len(pixels), BLOCK)
    ]
    return np.concatenate(parts)


def classes_of(classifier: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The most probable class of each grey image uint8 [n, 28, 28, 1]: int64 [n]."""
    return probabilities(classifier, pixels).argmax(axis=1)


def accuracy(classifier: nn.Module, dataset: Dataset) -> float:
    """Share of a data set's images whose class is told rightly."""
    labels = dataset.labels
    assert labels is not None
    told = classes_of(classifier, dataset.batch(np.arange(len(dataset))))
    return float((told == labels).mean())
