"""From parameters and an image shape to networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ganpipe.errors import GanpipeError
from ganpipe.networks import dcgan
from ganpipe.params import ModelParams


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

    @staticmethod
    def of(model: ModelParams, height: int, width: int, channels: int) -> NetworkConfig:
        """The configuration for images of one shape.

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
        )


@dataclass(frozen=True)
class Architecture:
    """What one file of networks offers."""

    generator: Callable[[NetworkConfig], nn.Module]
    """Latents float [n, latent] to images float [n, C, H, W], nominally in [-1, 1]."""
    discriminator: Callable[[NetworkConfig], nn.Module]
    """Images float [n, C, H, W] to critic scores float [n]."""
    can_make: Callable[[int, int], bool]
    """Whether it can make images of a height and width, in pixels."""
    sizes: str
    """The sizes it can make, in words."""


ARCHITECTURES = {
    "dcgan": Architecture(
        generator=lambda config: dcgan.Generator(
            config.latent,
            config.width,
            config.max_width,
            config.image_height,
            config.image_channels,
        ),
        discriminator=lambda config: dcgan.Discriminator(
            config.width, config.max_width, config.image_height, config.image_channels
        ),
        can_make=lambda height, width: height == width and dcgan.base_size(height) is not None,
        sizes="squares of 4, 7 or 8 times a power of two: 8, 14, 16, 28, 32, 56, 64, 112, 128 ...",
    )
}


def check_resolution(architecture: str, height: int, width: int) -> None:
    """Raise GanpipeError when the architecture cannot make images of this size."""
    known = ARCHITECTURES[architecture]
    if not known.can_make(height, width):
        raise GanpipeError(
            f"images of {height}x{width} pixels: model.architecture={architecture} makes "
            f"{known.sizes}; set data.resolution to one of these"
        )


def build_generator(config: NetworkConfig) -> nn.Module:
    """A generator with freshly initialised weights (torch's global generator decides them)."""
    return ARCHITECTURES[config.architecture].generator(config)


def build_discriminator(config: NetworkConfig) -> nn.Module:
    """A discriminator with freshly initialised weights."""
    return ARCHITECTURES[config.architecture].discriminator(config)
