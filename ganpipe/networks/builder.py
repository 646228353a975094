"""From parameters and an image shape to networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from torch import nn

from ganpipe.networks import dcgan, mlp, residual
from ganpipe.networks.articles import celeba, dense_conv, mnist_bn, shapes
from ganpipe.networks.articles import mlp as article_mlp
from ganpipe.networks.pyramid import Pyramid
from ganpipe.networks.r3gan import GroupedBlock
from ganpipe.networks.resnet import PlainBlock
from ganpipe.params import ModelParams

ARTICLE = "article-"  # begins the names of the tutorials' architectures


@dataclass(frozen=True)
class NetworkConfig:
    """Everything that decides the shape of both networks."""

    architecture: str
    latent: int
    """Numbers in a latent vector."""
    width: int
    """Channels at the full resolution."""
    max_width: int
    """Largest number of channels at any resolution."""
    image_height: int
    image_width: int
    image_channels: int
    classes: int = 0
    """Classes that can be asked for; 0 is unconditional."""
    blocks: int = 1
    """Residual blocks at each resolution; hidden layers of an mlp."""
    group: int = 8
    """Channels in each group of r3gan's grouped convolutions, before expansion."""
    expansion: int = 2
    """How much wider the middle of r3gan's blocks is."""

    @staticmethod
    def of(
        model: ModelParams, height: int, width: int, channels: int, classes: int = 0
    ) -> NetworkConfig:
        """The configuration for images of one shape, `classes` of them where it is conditional.

        Raises GanpipeError for a shape that the architecture cannot make.
        """
        check_resolution(model.architecture, height, width)
        return NetworkConfig(
            architecture=model.architecture,
            latent=model.latent,
            width=model.width,
            max_width=model.max_width,
            image_height=height,
            image_width=width,
            image_channels=channels,
            classes=classes if _knows_classes(model) else 0,
            blocks=model.blocks,
            group=model.group,
            expansion=model.expansion,
        )

    @property
    def pyramid(self) -> Pyramid:
        return Pyramid.of(self.image_height, self.image_width)


@dataclass(frozen=True)
class Architecture:
    """What one file of networks offers."""

    generator: Callable[[NetworkConfig], nn.Module]
    """Latents float [n, latent] to images float [n, C, H, W], nominally in [-1, 1]."""
    discriminator: Callable[[NetworkConfig], nn.Module]
    """Images float [n, C, H, W] to critic scores float [n]."""
    check: Callable[[int, int], object] = Pyramid.of
    """Raises GanpipeError for a height and width that it cannot make."""


def _knows_classes(model: ModelParams) -> bool:
    if model.conditional == "auto":
        return not model.architecture.startswith(ARTICLE)
    return model.conditional


def _dcgan_generator(config: NetworkConfig) -> nn.Module:
    pyramid = config.pyramid
    return dcgan.Generator(
        pyramid,
        dcgan.widths(pyramid, config.width, config.max_width),
        latent=config.latent,
        classes=config.classes,
        channels=config.image_channels,
        blocks=config.blocks,
    )


def _dcgan_discriminator(config: NetworkConfig) -> nn.Module:
    pyramid = config.pyramid
    plan = dcgan.widths(pyramid, config.width, config.max_width)
    return dcgan.Discriminator(
        pyramid, plan, classes=config.classes, channels=config.image_channels, blocks=config.blocks
    )


def _residual(config: NetworkConfig, block: Callable[..., nn.Module]) -> dict[str, Any]:
    """What both residual networks are made of; `block` takes channels and the number of blocks."""
    pyramid = config.pyramid
    widths = pyramid.widths(config.width, config.max_width)
    return {
        "pyramid": pyramid,
        "widths": widths,
        "classes": config.classes,
        "channels": config.image_channels,
        "blocks": config.blocks,
        "block": partial(block, blocks=config.blocks * len(widths)),
    }


def _grouped(config: NetworkConfig) -> Callable[..., nn.Module]:
    return partial(GroupedBlock, group=config.group, expansion=config.expansion)


def _shape(config: NetworkConfig) -> tuple[int, int, int]:
    return (config.image_channels, config.image_height, config.image_width)


def _mlp_hidden(config: NetworkConfig) -> list[int]:
    """Doubling from `width`, for the generator; the discriminator takes them the other way."""
    return [min(config.width << level, config.max_width) for level in range(config.blocks)]


def _article(networks: ModuleType, check: Callable[[int, int], object]) -> Architecture:
    """A tutorial's networks, whose layers have sizes of their own."""
    return Architecture(
        lambda c: networks.Generator(_shape(c), c.latent),
        lambda c: networks.Discriminator(_shape(c)),
        check,
    )


ARCHITECTURES = {
    "dcgan": Architecture(_dcgan_generator, _dcgan_discriminator),
    "resnet": Architecture(
        lambda c: residual.Generator(**_residual(c, PlainBlock), latent=c.latent),
        lambda c: residual.Discriminator(**_residual(c, PlainBlock)),
    ),
    "r3gan": Architecture(
        lambda c: residual.Generator(**_residual(c, _grouped(c)), latent=c.latent),
        lambda c: residual.Discriminator(**_residual(c, _grouped(c))),
    ),
    "mlp": Architecture(
        lambda c: mlp.Generator(_shape(c), _mlp_hidden(c), c.latent, c.classes),
        lambda c: mlp.Discriminator(_shape(c), _mlp_hidden(c)[::-1], c.classes),
        shapes.any_size,
    ),
    "article-dense-conv": _article(dense_conv, shapes.at_least_a_kernel),
    "article-mnist-bn": _article(mnist_bn, shapes.quarters),
    "article-celeba": _article(celeba, shapes.quarters),
    "article-mlp": _article(article_mlp, shapes.any_size),
}


def check_resolution(architecture: str, height: int, width: int) -> None:
    """Raise GanpipeError when the architecture cannot make images of this size."""
    ARCHITECTURES[architecture].check(height, width)


def build_generator(config: NetworkConfig) -> nn.Module:
    """A generator with freshly initialised weights (torch's global generator decides them)."""
    return ARCHITECTURES[config.architecture].generator(config)


def build_discriminator(config: NetworkConfig) -> nn.Module:
    """A discriminator with freshly initialised weights."""
    return ARCHITECTURES[config.architecture].discriminator(config)
