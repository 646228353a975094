"""Small data sets of real digits and generators for them, for tests of whole evaluations."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from ganpipe.data.dataset import Dataset
from ganpipe.networks import Generator, NetworkConfig, build_generator, save_generator
from ganpipe.networks.residual import SLOPE

CLASSES = [str(number) for number in range(10)]
SIDE = 16


@cache
def digits():
    """All of them in an order of their own: uint8 [1797, 16, 16, 1], and their classes."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.images))
    images = (found.images * 15.9).astype(np.uint8)[order]
    return images.repeat(2, axis=1).repeat(2, axis=2)[..., None], found.target[order]


def make_dataset(folder: Path, images, labels=None, shards: int = 1) -> Dataset:
    """A data set as the stage preprocess leaves it."""
    folder.mkdir(parents=True)
    for number, part in enumerate(np.array_split(images, shards)):
        np.save(folder / f"images-{number:05d}.npy", part)
    digest = hashlib.sha256(images.tobytes())
    if labels is not None:
        np.save(folder / "labels.npy", labels.astype(np.int64))
        digest.update(labels.tobytes())
    _, height, width, channels = images.shape
    about = {"height": height, "width": width, "channels": channels, "count": len(images)}
    about |= {"classes": CLASSES if labels is not None else [], "sha256": digest.hexdigest()}
    (folder / "dataset.json").write_text(json.dumps(about))
    return Dataset(folder)


def splits(folder: Path, train: int = 120, test: int = 60, labelled: bool = True):
    """The first digits as a training and the next as a test set, in `folder`."""
    images, labels = digits()
    parts = {"train": slice(0, train), "test": slice(train, train + test)}
    return tuple(
        make_dataset(folder / name, images[part], labels[part] if labelled else None)
        for name, part in parts.items()
    )


def save(folder: Path, network, config: NetworkConfig) -> Path:
    """A model folder as training leaves it."""
    folder.mkdir(parents=True)
    known = CLASSES if config.classes else []
    save_generator(folder, Generator(network, config, known, 5000, [10] * config.classes))
    return folder


def untrained(folder: Path, seed: int = 0, classes: int = 0, side: int = SIDE) -> Path:
    """A generator of noise-like images, with or without classes."""
    config = NetworkConfig("dcgan", 16, 8, 16, side, side, 1, classes)
    torch.manual_seed(seed)
    return save(folder, build_generator(config), config)


def memorising(folder: Path, images) -> Path:
    """A generator that has learnt uint8 images [k, H, W, 1] by heart: its latent chooses one.

    A pair of leaky ReLUs is a step: each adds the difference of two images where the latent is
    beyond a quantile of the normal distribution.
    """
    count, height, width, _ = images.shape
    steep, hidden = 200.0, 2 * (count - 1)
    wanted = np.arctanh(np.clip(images.reshape(count, -1) / 127.5 - 1.0, -0.9999, 0.9999))
    edges = torch.special.ndtri(torch.arange(1, count, dtype=torch.float64) / count)
    jumps = torch.from_numpy(np.diff(wanted, axis=0) / (1.0 - SLOPE)).T
    config = NetworkConfig("mlp", 1, hidden, hidden, height, width, 1)
    network = build_generator(config)
    first, last = (layer for layer in network.layers if isinstance(layer, torch.nn.Linear))
    with torch.no_grad():
        first.weight.fill_(steep)
        first.bias.copy_(torch.cat([-steep * edges, -steep * edges - 1.0]))
        last.weight.copy_(torch.cat([jumps, -jumps], dim=1))
        last.bias.copy_(torch.from_numpy(wanted[0]) - SLOPE * jumps.sum(dim=1))
    return save(folder, network, config)


def constant(folder: Path) -> Path:
    """A generator that has collapsed to one image."""
    config = NetworkConfig("mlp", 4, 4, 4, SIDE, SIDE, 1)
    network = build_generator(config)
    with torch.no_grad():
        for value in network.parameters():
            value.zero_()
    return save(folder, network, config)


class Pooled:
    """A feature network for tests: the mean of each block of 4 x 4 pixels."""

    name, version, weights_sha256, resize, features = "pooled", 1, "none", "none", 16

    def __call__(self, images):
        blocks = images.reshape(len(images), SIDE // 4, 4, SIDE // 4, 4, -1)
        return blocks.mean(axis=(2, 4, 5)).reshape(len(images), -1).astype(np.float32)
