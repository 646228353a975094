"""DCGAN: strided convolutions from a small base to the image and back.

After Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional
generative adversarial networks" (ICLR 2016), with two changes: any base of 4 or 7 pixels
(so 28 = 7 x 2 x 2 needs no padding tricks), and no BatchNorm in the discriminator, since a
gradient penalty is defined for single images (Gulrajani et al., NeurIPS 2017, section 4).
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


def base_size(size: int) -> int | None:
    """The base (4 or 7 pixels) that doubles up to `size`, or None when neither does."""
    for base in (4, 7):
        factor = size // base
        if size % base == 0 and factor & (factor - 1) == 0 and factor > 0:
            return base
    return None


def widths(size: int, width: int, max_width: int) -> list[int]:
    """Channels from the base up to half the full resolution: `width` there, doubled downwards.

    Images of the base size itself have one level, at the full resolution.
    """
    base = base_size(size)
    if base is None:
        raise ValueError(f"no base of 4 or 7 pixels doubles up to {size}")
    doublings = (size // base).bit_length() - 1
    return [min(width << level, max_width) for level in reversed(range(max(doublings, 1)))]


def _initialise(module: nn.Module) -> None:
    """The paper's initialisation: N(0, 0.02) for weights, N(1, 0.02) for BatchNorm's scales."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(child.weight, 0.0, 0.02)
            if child.bias is not None:
                nn.init.zeros_(child.bias)
        elif isinstance(child, nn.BatchNorm2d):
            nn.init.normal_(child.weight, 1.0, 0.02)


class Generator(nn.Module):
    """Latents float [n, latent] to images float [n, channels, size, size] in [-1, 1]."""

    def __init__(self, latent: int, width: int, max_width: int, size: int, channels: int) -> None:
        super().__init__()
        plan = widths(size, width, max_width)
        self.base = base_size(size) or size
        self.project = nn.Linear(latent, plan[0] * self.base**2, bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(plan[0]), nn.ReLU()]
        for before, after in pairwise(plan):
            layers += [
                nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        if size > self.base:
            layers.append(nn.ConvTranspose2d(plan[-1], channels, 4, 2, 1))
        else:
            layers.append(nn.Conv2d(plan[-1], channels, 3, 1, 1))
        self.layers = nn.Sequential(*layers, nn.Tanh())
        _initialise(self)

    def forward(self, latents: Tensor) -> Tensor:
        features = self.project(latents).unflatten(1, (-1, self.base, self.base))
        images: Tensor = self.layers(features)
        return images


class Discriminator(nn.Module):
    """Images float [n, channels, size, size] to critic scores float [n] (logits)."""

    def __init__(self, width: int, max_width: int, size: int, channels: int) -> None:
        super().__init__()
        plan = [channels, *reversed(widths(size, width, max_width))]
        base = base_size(size) or size
        layers: list[nn.Module] = []
        for before, after in pairwise(plan):
            halve = nn.Conv2d(before, after, 4, 2, 1)
            layers += [halve if size > base else nn.Conv2d(before, after, 3, 1, 1)]
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.score = nn.Linear(plan[-1] * base**2, 1)
        _initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.score(self.layers(images).flatten(1))
        return scores.squeeze(1)
