"""Differentiable augmentation: brightness, saturation, contrast, shifts and holes.

Zhao et al., "Differentiable augmentation for data-efficient GAN training" (NeurIPS 2020),
section 3.2, with the amounts of its published code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ganpipe.training.augment.draws import Draws, each
from ganpipe.training.augment.resample import pick


def apply(images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
    """Augmented images, float [n, C, H, W] nominally in [-1, 1], though colours may leave it.

    draws: uniform in [0, 1), float32 [n, EACH]. strength: probability [] of each augmentation;
    the paper applies all of them to every image (1).
    """
    take = Draws(draws, strength, images.dtype)
    for change in (brightness, saturation, contrast, translation, cutout):
        images = change(images, take)
    return images


def brightness(images: Tensor, take: Draws) -> Tensor:
    """Add up to a quarter of the range of values, or take it away."""
    return take.applied(images + each(take.uniform(-0.5, 0.5)), images)


def saturation(images: Tensor, take: Draws) -> Tensor:
    """Multiply the distance of colours from grey by 0 to 2."""
    grey = images.mean(dim=1, keepdim=True)
    return take.applied(grey + (images - grey) * each(take.uniform(0.0, 2.0)), images)


def contrast(images: Tensor, take: Draws) -> Tensor:
    """Multiply the distance of values from the mean of their image by 0.5 to 1.5."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return take.applied(mean + (images - mean) * each(take.uniform(0.5, 1.5)), images)


def translation(images: Tensor, take: Draws) -> Tensor:
    """Shift by whole pixels, up to an eighth of height and width; what comes in is mid-grey."""
    (rows, rows_inside), (columns, columns_inside) = (
        _shifted(size, take, images) for size in images.shape[-2:]
    )
    shape = (len(images), *images.shape[-2:])
    shifted = pick(images, rows[:, :, None].expand(shape), columns[:, None].expand(shape))
    inside = (rows_inside[:, :, None] & columns_inside[:, None])[:, None]
    return take.applied(torch.where(inside, shifted, 0.0), images)


def _shifted(size: int, take: Draws, images: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pixels of a shifted row come from, int64 [n, size], and whether they exist."""
    most = size // 8
    shift = take.uniform(-most, most + 1).floor().long()
    source = torch.arange(size, device=images.device) - shift[:, None]
    return source.clamp(0, size - 1), (source >= 0) & (source < size)


def cutout(images: Tensor, take: Draws) -> Tensor:
    """Make a hole of half the height and width around a random point: mid-grey."""
    rows, columns = (_near(size, take, images) for size in images.shape[-2:])
    hole = (rows[:, :, None] & columns[:, None])[:, None]
    return take.applied(torch.where(hole, 0.0, images), images)


def _near(size: int, take: Draws, images: Tensor) -> Tensor:
    """Which pixels of a row are less than a quarter of it from a random point: bool [n, size]."""
    centres = torch.arange(size, dtype=images.dtype, device=images.device) + 0.5
    return (centres - size * take.uniform()[:, None]).abs() < size / 4
