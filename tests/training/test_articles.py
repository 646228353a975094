"""The tutorials' presets: what they set, and images that a person and a classifier recognise."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganpipe import presets
from ganpipe.compute import resolve_train
from ganpipe.data.dataset import Dataset
from ganpipe.data.sources.fashion_mnist import CLASSES, DEBIAN_FOLDER
from ganpipe.files import write_json
from ganpipe.images import grid, write_png
from ganpipe.networks import Generator, NetworkConfig, sample
from ganpipe.training.batches import Batches
from ganpipe.training.trainer import Networks, Trainer

ARTICLES = (
    "article-celeba",
    "article-dense-conv",
    "article-least-squares",
    "article-mlp",
    "article-mnist-bn",
)
SAMPLES = 2000
fashion_mnist = pytest.mark.skipif(
    not DEBIAN_FOLDER.is_dir(), reason="apt-get install dataset-fashion-mnist"
)


def _trainer(name, **changes):
    """A trainer with a preset's parameters, for images of 28x28 in the colours it names."""
    chosen = presets.load(name)
    train = resolve_train(chosen.train.model_copy(update={"threads": 1, **changes}))
    channels = 3 if chosen.data.channels == "rgb" else 1
    config = NetworkConfig.of(chosen.model, 28, 28, channels)
    return Trainer(Networks.fresh(config, train), train), config


@pytest.mark.parametrize("name", ARTICLES)
def test_a_step_of_each_preset_moves_both_networks(name):
    trainer, config = _trainer(name, batch=8)
    networks = trainer.networks
    before = [weights.clone() for weights in _weights(networks)]
    trainer.step(torch.rand(8, config.image_channels, 28, 28) * 2 - 1, torch.randn(8, 100))
    assert all(not torch.equal(a, b) for a, b in zip(before, _weights(networks), strict=True))


def _weights(networks):
    """The first and last layer's weights of both: in between a ReLU may be silent for 8 images."""
    found = []
    for network in (networks.generator, networks.discriminator):
        kernels = [each for name, each in network.named_parameters() if each.dim() > 1]
        found += [kernels[0], kernels[-1]]
    return found


@pytest.mark.parametrize("name", ARTICLES)
def test_without_a_printed_average_the_generator_itself_is_sampled(name):
    trainer, config = _trainer(name, batch=8)
    if trainer.params.ema_kimg > 0:
        pytest.skip("mended with an average")
    for _ in range(3):
        trainer.step(torch.rand(8, config.image_channels, 28, 28) * 2 - 1, torch.randn(8, 100))
    kept, new = trainer.networks.average.state_dict(), trainer.networks.generator.state_dict()
    assert all(torch.equal(kept[name], new[name]) for name in new)


@pytest.mark.parametrize("name", ARTICLES)
def test_the_comment_lists_what_is_printed_and_what_is_mended(name):
    comment = [line for line in presets.text(name).splitlines() if line.startswith("#")]
    assert any("printed" in line and "mended" in line for line in comment)
    rows = ("generator", "discriminator", "D loss", "G loss", "optimizer", "data")
    missing = [row for row in rows if f"#   {row}" not in presets.text(name)]
    assert not missing or name == "article-least-squares"


def _idx(name, header):
    packed = gzip.decompress((DEBIAN_FOLDER / f"{name}.gz").read_bytes())
    return np.frombuffer(packed, np.uint8, offset=header)


def _pictures(split):
    """Images uint8 [n, 28, 28, 1] and classes int64 [n] of `train` or `t10k`."""
    images = _idx(f"{split}-images-idx3-ubyte", 16).reshape(-1, 28, 28, 1)
    return images, _idx(f"{split}-labels-idx1-ubyte", 8).astype(np.int64)


def _as_input(images):
    """Grey or equal colours uint8 [n, 28, 28, C] to float [n, 1, 28, 28] in [-1, 1]."""
    grey = torch.from_numpy(images.astype(np.float32)).mean(dim=3)
    return grey[:, None] / 127.5 - 1


@pytest.fixture(scope="module")
def classifier():
    """Trained on Fashion-MNIST for eight epochs: about 40 s of CPU."""
    images, classes = _pictures("train")
    inputs, targets = _as_input(images), torch.from_numpy(classes)
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10)),
    )
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    epochs, batch = 8, 128
    steps = epochs * (len(inputs) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(inputs))[: len(inputs) // batch * batch]
        for rows in order.split(batch):
            loss = nn.functional.cross_entropy(network(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    images, classes = _pictures("t10k")
    assert (_probabilities(network, images).argmax(axis=1) == classes).mean() > 0.88
    return network


@torch.no_grad()
def _probabilities(classifier, images):
    return classifier(_as_input(images)).softmax(dim=1).numpy()


@pytest.fixture(scope="module")
def clothes(tmp_path_factory):
    """Fashion-MNIST as data sets of one and of three (equal) channels."""
    images, _ = _pictures("train")
    folders = {}
    for channels in (1, 3):
        folder = folders[channels] = tmp_path_factory.mktemp(f"clothes{channels}")
        np.save(folder / "images-00000.npy", np.repeat(images, channels, axis=3))
        shape = {"height": 28, "width": 28, "channels": channels, "count": len(images)}
        write_json(folder / "dataset.json", {**shape, "classes": [], "sha256": "0" * 64})
    return {channels: Dataset(folder) for channels, folder in folders.items()}


@pytest.mark.slow
@fashion_mnist
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ARTICLES)
def test_each_preset_learns_clothes_that_are_recognised(name, clothes, classifier, tmp_path):
    """The first of Fashion-MNIST's bars: 60 % of samples with a class at 0.9, 8 of 10 classes."""
    trainer, config = _trainer(name, device="cpu")
    params = trainer.params
    shown = (params.seed, params.batch, config.latent, params.device)
    batches = Batches(clothes[config.image_channels], *shown)
    while trainer.images < params.kimg * 1000:
        trainer.step(*batches.at(trainer.images))
    trained = Generator(trainer.networks.average.eval(), config, [], trainer.images)
    made = sample(trained, SAMPLES, seed=1)
    write_png(Path(tmp_path) / f"{name}.png", grid(made[:64]))
    found = _probabilities(classifier, made)
    shares = np.bincount(found.argmax(axis=1), minlength=len(CLASSES)) / SAMPLES
    told = f"{name}: {(found.max(axis=1) > 0.9).mean():.2f} recognised, shares {shares.round(3)}"
    print(told)
    assert (found.max(axis=1) > 0.9).mean() >= 0.6, told
    assert (shares >= 0.02).sum() >= 8, told
