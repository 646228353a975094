"""The R3GAN presets are the published ones: widths, groups, sizes and schedules."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from torch import nn

from ganpipe import presets
from ganpipe.networks import NetworkConfig, build_discriminator, build_generator
from ganpipe.training.schedules import Settings, settings


class Published(NamedTuple):
    """What github.com/brownvc/R3GAN says in train.py, from 4x4 up, and in its README."""

    size: int
    classes: int
    widths: list[int]
    cardinalities: list[int]
    batch: int
    burn_in_kimg: float
    gamma: tuple[float, float]
    ema_kimg: float
    augment: float


PUBLISHED = {
    "r3gan-cifar10": Published(32, 10, [768] * 4, [96] * 4, 512, 20e3, (0.05, 0.005), 5000, 0.55),
    "r3gan-ffhq64": Published(
        64, 0, [768] * 4 + [384], [96] * 4 + [48], 256, 20e3, (2, 0.2), 500, 0.3
    ),
    "r3gan-ffhq256": Published(
        256,
        0,
        [768] * 4 + [384, 192, 96],
        [96] * 4 + [48, 24, 12],
        256,
        20e3,
        (150, 15),
        500,
        0.3,
    ),
    "r3gan-imagenet64": Published(
        64, 1000, [1536] * 5, [96] * 5, 4096, 200e3, (1, 0.1), 50_000, 0.4
    ),
}
LATENT, BLOCKS, EXPANSION = 64, 2, 2
each = pytest.mark.parametrize("name", PUBLISHED)


def _networks(name: str) -> tuple[nn.Module, nn.Module]:
    """Both networks without memory for their weights."""
    model, (size, classes, *_) = presets.load(name).model, PUBLISHED[name]
    config = NetworkConfig.of(model, size, size, 3, classes)
    with torch.device("meta"):
        return build_generator(config), build_discriminator(config)


def _count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def _grouped(network: nn.Module) -> list[nn.Conv2d]:
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    return [layer for layer in convolutions if layer.groups > 1]


@each
def test_every_stage_has_the_published_width_and_cardinality(name: str) -> None:
    generator, discriminator = _networks(name)
    published = PUBLISHED[name]
    stages = [
        (EXPANSION * width, groups)
        for width, groups in zip(published.widths, published.cardinalities, strict=True)
        for _ in range(BLOCKS)
    ]
    for network, expected in [(generator, stages), (discriminator, stages[::-1])]:
        assert [(c.in_channels, c.groups) for c in _grouped(network)] == expected
        assert {c.kernel_size for c in _grouped(network)} == {(3, 3)}


def _by_hand(published: Published) -> tuple[int, int]:
    """Weights of both networks from the layers of R3GAN/Networks.py."""
    widths, classes = published.widths, published.classes
    body = 0
    for width, groups in zip(widths, published.cardinalities, strict=True):
        wide = EXPANSION * width
        # 1x1, grouped 3x3, 1x1, and a bias after each of the first two
        body += BLOCKS * (2 * width * wide + wide * wide // groups * 9 + 2 * wide)
    # 1x1 between two stages
    body += sum(low * high for low, high in pairwise(widths) if low != high)
    body += widths[-1] * 3 + widths[0] * 4 * 4  # 1x1 at the image, and the basis
    generator = body + (LATENT * (2 if classes else 1)) * widths[0] + classes * LATENT
    critic = widths[0] * (widths[0] + classes) if classes else widths[0]
    return generator, body + critic


@each
def test_both_networks_have_as_many_weights_as_counted_by_hand(name: str) -> None:
    assert tuple(map(_count, _networks(name))) == _by_hand(PUBLISHED[name])


def test_the_sizes_for_cifar_10_are_those_of_the_paper() -> None:
    millions = [_count(network) / 1e6 for network in _networks("r3gan-cifar10")]
    assert millions == pytest.approx([20.8, 21.3], abs=0.05)


@pytest.mark.parametrize(
    ("name", "megabytes", "digit"), [("r3gan-ffhq256", 645, 1), ("r3gan-imagenet64", 2940, 10)]
)
def test_the_sizes_are_those_of_the_published_snapshots(
    name: str, megabytes: float, digit: float
) -> None:
    """Their files hold G, D, the average of G, and Adam's two moments of G and D, in float32.

    Bytes as huggingface.co/brownvc shows them for R3GAN-FFHQ-256x256 and R3GAN-ImgNet-64x64.
    """
    generator, discriminator = map(_count, _networks(name))
    assert 4 * (4 * generator + 3 * discriminator) / 1e6 == pytest.approx(megabytes, abs=digit / 2)


@each
def test_every_schedule_is_the_published_one_and_held_after_it(name: str) -> None:
    published, train = PUBLISHED[name], presets.load(name).train

    def cosine(share: float, start: float, final: float) -> float:
        decay = 0.5 * (1 + math.cos(math.pi * share))  # as training_loop.py spells it
        return start + (1 - decay) * (final - start)

    assert train.batch == published.batch
    assert (train.beta1, train.eps, train.loss, train.penalty_every) == (0.0, 1e-8, "rpgan", 1)
    # no ramp-up beside the schedule of the half-life, no warm-up
    assert (train.ema_rampup, train.warmup_kimg, train.gp) == (0.0, 0.0, 0.0)
    assert train.kimg > published.burn_in_kimg
    for share in (0.0, 0.1, 0.5, 0.9, 1.0, 1.5, 12.0):
        held = min(share, 1.0)
        gamma = cosine(held, *published.gamma)
        expected = Settings(
            lr=cosine(held, 2e-4, 5e-5),
            beta2=cosine(held, 0.9, 0.99),
            r1=gamma,
            r2=gamma,
            ema_kimg=cosine(held, 0, published.ema_kimg),
            augment_strength=cosine(held, 0, published.augment),
        )
        now = settings(train, int(share * published.burn_in_kimg * 1000))
        assert vars(now) == pytest.approx(vars(expected), rel=1e-9)


@each
def test_images_have_the_published_shape_and_classes(name: str) -> None:
    published, chosen = PUBLISHED[name], presets.load(name)
    assert chosen.data.shape == (published.size, published.size)
    assert chosen.model.conditional == (published.classes > 0)
    assert chosen.model.latent == LATENT


def test_the_small_one_fits_a_cpu() -> None:
    model = presets.load("r3gan-tiny").model
    config = NetworkConfig.of(model, 28, 28, 1)
    with torch.device("meta"):
        weights = _count(build_generator(config)) + _count(build_discriminator(config))
    assert weights < 250_000
