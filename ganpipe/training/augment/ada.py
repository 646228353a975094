"""Augmentations of StyleGAN2-ADA: flips, turns, shifts, scales, colours and holes.

Karras et al., "Training generative adversarial networks with limited data" (NeurIPS 2020),
appendix B: its groups pixel blitting, geometric and colour, which the paper trains with, and
cutout, which Huang et al., "The GAN is dead; long live the GAN!" (NeurIPS 2024) add. Its filters
and noise are left out, since they did not help (section 2.3). Not as in the paper: the plane is
resampled bilinearly and without a filter against aliasing, and flips, quarter turns and whole
shifts are part of that one resampling.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganpipe.training.augment.affine import Affine, linear, matrix, shift
from ganpipe.training.augment.diffaugment import cutout
from ganpipe.training.augment.draws import Draws, each
from ganpipe.training.augment.resample import move


def apply(images: Tensor, draws: Tensor, strength: Tensor) -> Tensor:
    """Augmented images, float [n, C, H, W] nominally in [-1, 1], though colours may leave it.

    draws: uniform in [0, 1), float32 [n, EACH]. strength: probability [] of each augmentation;
    up to 0.8 it does not show in generated images (ibid., section 2.2).
    """
    take = Draws(draws, strength, images.dtype)
    images = move(images, motion(take, *images.shape[-2:]))
    images = recolour(images, colours(take, images.shape[1]))
    return cutout(images, take)


def motion(take: Draws, height: int, width: int) -> Affine:
    """Pixel blitting and geometric augmentations in the paper's order, of images of a size."""
    return (
        flip(take)
        .then(quarter_turn(take, square=height == width))
        .then(whole_shift(take, height, width))
        .then(scale(take))
        .then(turn(take))
        .then(stretch(take))
        .then(turn(take))
        .then(part_shift(take, height, width))
    )


def flip(take: Draws) -> Affine:
    """Exchange left and right, in half of the cases."""
    sign = take.applied(1.0 - 2.0 * take.uniform(0.0, 2.0).floor(), 1.0)
    zero = torch.zeros_like(sign)
    return linear(matrix([sign, zero], [zero, zero + 1.0]))


def quarter_turn(take: Draws, square: bool) -> Affine:
    """Turn by 0 to 3 quarters; by none or two where a quarter would not fit."""
    quarters = take.uniform(0.0, 4.0).floor() if square else 2.0 * take.uniform(0.0, 2.0).floor()
    quarters = take.applied(quarters, 0.0)
    # cosine and sine without the rounding of pi
    cosine, sine = (quarters - 2.0).abs() - 1.0, 1.0 - (quarters - 1.0).abs()
    return linear(matrix([cosine, -sine], [sine, cosine]))


def whole_shift(take: Draws, height: int, width: int) -> Affine:
    """Shift by whole pixels, up to an eighth of width and height."""
    pixels = [width * take.uniform(-0.125, 0.125), height * take.uniform(-0.125, 0.125)]
    return shift(*take.applied(torch.stack(pixels, dim=1).round(), 0.0).unbind(dim=1))


def scale(take: Draws) -> Affine:
    """Enlarge by 2 ** (0.2 z) with a normal z."""
    factor = take.applied(torch.exp2(0.2 * take.normal()), 1.0)
    zero = torch.zeros_like(factor)
    return linear(matrix([factor, zero], [zero, factor]))


def turn(take: Draws) -> Affine:
    """Turn by any angle. Applied twice, so that one of both is with the probability asked for."""
    angle = take.applied(take.uniform(-math.pi, math.pi), 0.0, share=0.5)
    cosine, sine = angle.cos(), angle.sin()
    return linear(matrix([cosine, -sine], [sine, cosine]))


def stretch(take: Draws) -> Affine:
    """Enlarge in x by 2 ** (0.2 z) with a normal z, and make smaller in y by as much."""
    power = take.applied(0.2 * take.normal(), 0.0)
    zero = torch.zeros_like(power)
    return linear(matrix([torch.exp2(power), zero], [zero, torch.exp2(-power)]))


def part_shift(take: Draws, height: int, width: int) -> Affine:
    """Shift by normal shares of width and height, with deviation an eighth."""
    pixels = [0.125 * width * take.normal(), 0.125 * height * take.normal()]
    return shift(*take.applied(torch.stack(pixels, dim=1), 0.0).unbind(dim=1))


def colours(take: Draws, channels: int) -> Affine:
    """Colour augmentations in the paper's order; hue and saturation only where there is colour."""
    changed = brightness(take, channels).then(contrast(take, channels))
    changed = changed.then(invert_luma(take, channels))
    if channels != 3:
        return changed
    return changed.then(turn_hue(take)).then(saturate(take))


def brightness(take: Draws, channels: int) -> Affine:
    """Add 0.2 z to all channels, with a normal z."""
    return shift(*[take.applied(0.2 * take.normal(), 0.0)] * channels)


def contrast(take: Draws, channels: int) -> Affine:
    """Multiply by 2 ** (0.5 z), with a normal z."""
    factor = take.applied(torch.exp2(0.5 * take.normal()), 1.0)
    return linear(each(factor, 3) * torch.eye(channels, dtype=factor.dtype, device=factor.device))


def invert_luma(take: Draws, channels: int) -> Affine:
    """Exchange light and dark and keep the hue, in half of the cases."""
    inverted = take.applied(take.uniform(0.0, 2.0).floor(), 0.0)
    return linear(_same(inverted, channels) - each(2.0 * inverted, 3) * _luma(inverted, channels))


def turn_hue(take: Draws) -> Affine:
    """Turn colours around the grey axis by any angle (Rodrigues' formula)."""
    angle = take.applied(take.uniform(-math.pi, math.pi), 0.0)
    zero, third = torch.zeros_like(angle), torch.full_like(angle, 3.0**-0.5)
    across = matrix([zero, -third, third], [third, zero, -third], [-third, third, zero])
    luma = _luma(angle, 3)
    turned = luma + each(angle.cos(), 3) * (_same(angle, 3) - luma) + each(angle.sin(), 3) * across
    return linear(torch.where(each(angle, 3) == 0.0, _same(angle, 3), turned))


def saturate(take: Draws) -> Affine:
    """Multiply the distance from grey by 2 ** z, with a normal z."""
    more = take.applied(torch.exp2(take.normal()) - 1.0, 0.0)
    return linear(_same(more, 3) + each(more, 3) * (_same(more, 3) - _luma(more, 3)))


def _same(like: Tensor, channels: int) -> Tensor:
    return torch.eye(channels, dtype=like.dtype, device=like.device).expand(len(like), -1, -1)


def _luma(like: Tensor, channels: int) -> Tensor:
    """The projection on the grey axis."""
    return like.new_full((len(like), channels, channels), 1.0 / channels)


def recolour(images: Tensor, change: Affine) -> Tensor:
    """Images [n, C, H, W] with each colour mapped; images whose map is the identity as they are."""
    mixed = torch.matmul(change.linear, images.flatten(2)) + change.offset[:, :, None]
    return torch.where(each(change.changes()), mixed.view(images.shape), images)
