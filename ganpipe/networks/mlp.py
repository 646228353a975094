"""Fully connected networks: no idea of neighbouring pixels, but quick, and enough for toys.

As in Goodfellow et al., "Generative adversarial nets" (NeurIPS 2014), with leaky ReLU.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ganpipe.networks.residual import SLOPE, embed, linear


def _hidden(plan: list[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(plan):
        layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
    return layers


class Generator(nn.Module):
    """Latents float [n, latent] (and labels int64 [n]) to images float [n, *shape] in [-1, 1]."""

    def __init__(
        self, shape: tuple[int, int, int], hidden: list[int], latent: int, classes: int
    ) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = linear(classes, latent) if classes else None
        plan = [latent * (2 if classes else 1), *hidden]
        pixels = shape[0] * shape[1] * shape[2]
        self.layers = nn.Sequential(*_hidden(plan), nn.Linear(plan[-1], pixels), nn.Tanh())

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            latents = torch.cat([latents, embed(self.embedding, labels)], dim=1)
        images: Tensor = self.layers(latents).unflatten(1, self.shape)
        return images


class Discriminator(nn.Module):
    """Images float [n, *shape] (and labels int64 [n]) to critic scores float [n]."""

    def __init__(self, shape: tuple[int, int, int], hidden: list[int], classes: int) -> None:
        super().__init__()
        plan = [shape[0] * shape[1] * shape[2], *hidden]
        self.layers = nn.Sequential(*_hidden(plan))
        self.score = nn.Linear(plan[-1], 1)
        self.embedding = linear(classes, plan[-1]) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.layers(images.flatten(1))
        scores: Tensor = self.score(features).squeeze(1)
        if self.embedding is not None:
            scores = scores + (features * embed(self.embedding, labels)).sum(dim=1)
        return scores
