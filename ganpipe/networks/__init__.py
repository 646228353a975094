"""Generators and discriminators: one file for each architecture, one builder, one file format."""

from ganpipe.networks.builder import (
    ARCHITECTURES,
    NetworkConfig,
    build_discriminator,
    build_generator,
    check_resolution,
)
from ganpipe.networks.generator import Generator, load_generator, sample, save_generator

__all__ = [
    "ARCHITECTURES",
    "Generator",
    "NetworkConfig",
    "build_discriminator",
    "build_generator",
    "check_resolution",
    "load_generator",
    "sample",
    "save_generator",
]
