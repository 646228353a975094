"""The tutorials' presets: they train, and say what is printed and what is mended.

Whether a classifier recognises what they learn is a figure: `make bench-train ARGS=articles`.
"""

from __future__ import annotations

import pytest
import torch

from ganpipe import presets
from ganpipe.compute import resolve_train
from ganpipe.networks import NetworkConfig
from ganpipe.training.trainer import Networks, Trainer

ARTICLES = (
    "article-celeba",
    "article-dense-conv",
    "article-least-squares",
    "article-mlp",
    "article-mnist-bn",
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
    assert missing == (["generator"] if name == "article-least-squares" else [])
