"""The skeleton of residual networks without normalisation; what a block does is left open.

After Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A modern GAN
baseline" (NeurIPS 2024), section 4 and appendix D. Generator and discriminator mirror each
other: a learned base, one stage of blocks for each resolution, bilinear resampling between,
fix-up initialisation (Zhang, Dauphin and Ma, ICLR 2019) in place of normalisation.

The lowest stage computes in float32 under autocast, as in the paper's code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganpipe.networks.precision import full
from ganpipe.networks.pyramid import Pyramid

SLOPE = 0.2
ACTIVATION_GAIN = math.sqrt(2.0 / (1.0 + SLOPE**2))

Block = Callable[[int], nn.Module]
"""Makes a block for a number of channels: float [n, C, h, w] to the same shape."""


class BiasedLeakyReLU(nn.Module):
    """Leaky ReLU after a learned bias for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        biased = features + self.bias.to(features.dtype).view(1, -1, 1, 1)
        return functional.leaky_relu(biased, SLOPE)


def convolution(
    before: int, after: int, kernel: int, *, groups: int = 1, gain: float = 1.0
) -> nn.Conv2d:
    """A convolution without bias whose weights are N(0, gain^2 / fan-in)."""
    layer = nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups, bias=False)
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    return layer


def linear(before: int, after: int, gain: float = 1.0) -> nn.Linear:
    layer = nn.Linear(before, after, bias=False)
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(before))
    return layer


def enlarge(features: Tensor) -> Tensor:
    """Twice the resolution, bilinear."""
    return functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)


def shrink(features: Tensor) -> Tensor:
    """Half the resolution: bilinear at that scale is the mean of four pixels."""
    return functional.avg_pool2d(features, 2)


class Generator(nn.Module):
    """Latents float [n, latent] (and labels int64 [n]) to images float [n, channels, H, W].

    Nominally in [-1, 1]: no tanh, whoever looks at samples clamps them.
    """

    def __init__(
        self,
        pyramid: Pyramid,
        widths: list[int],
        *,
        latent: int,
        classes: int,
        channels: int,
        blocks: int,
        block: Block,
    ) -> None:
        super().__init__()
        self.embedding = linear(classes, latent) if classes else None
        self.basis = nn.Parameter(torch.randn(widths[0], *pyramid.base))
        self.weigh = linear(latent * (2 if classes else 1), widths[0])
        self.stages = _stages(widths, blocks, block)
        self.changes = _changes(widths)
        self.image = convolution(widths[-1], channels, 1)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            latents = torch.cat([latents, embed(self.embedding, labels)], dim=1)
        with torch.autocast(latents.device.type, enabled=False):
            weights = self.weigh(full(latents))
            features = self.basis * weights[:, :, None, None]
            features = self.stages[0](features)
        for stage, change in zip(self.stages[1:], self.changes, strict=True):
            features = stage(enlarge(change(features)))
        images: Tensor = self.image(features)
        return images


class Discriminator(nn.Module):
    """Images float [n, channels, H, W] (and labels int64 [n]) to critic scores float [n].

    With classes, a score is the product of the image's features with its class's embedding
    (Miyato and Koyama, "cGANs with projection discriminator", ICLR 2018).
    """

    def __init__(
        self,
        pyramid: Pyramid,
        widths: list[int],
        *,
        classes: int,
        channels: int,
        blocks: int,
        block: Block,
    ) -> None:
        super().__init__()
        downwards = widths[::-1]
        self.image = convolution(channels, downwards[0], 1)
        self.stages = _stages(downwards, blocks, block)
        self.changes = _changes(downwards)
        self.basis = nn.Parameter(torch.empty(widths[0], *pyramid.base))
        nn.init.normal_(self.basis, 0.0, 1.0 / math.sqrt(math.prod(pyramid.base)))
        self.score = linear(widths[0], widths[0] if classes else 1)
        self.embedding = (
            linear(classes, widths[0], gain=math.sqrt(classes / widths[0])) if classes else None
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.image(images)
        for stage, change in zip(self.stages, self.changes, strict=False):
            features = change(shrink(stage(features)))
        with torch.autocast(images.device.type, enabled=False):
            features = self.stages[-1](full(features))
            features = (features * self.basis).sum(dim=(2, 3))
            scores: Tensor = self.score(features)
            if self.embedding is not None:
                scores = (scores * embed(self.embedding, labels)).sum(dim=1, keepdim=True)
        return scores.squeeze(1)


def _stages(widths: list[int], blocks: int, block: Block) -> nn.ModuleList:
    return nn.ModuleList(nn.Sequential(*(block(width) for _ in range(blocks))) for width in widths)


def _changes(widths: list[int]) -> nn.ModuleList:
    """Between two stages: a 1x1 convolution where their channels differ."""
    return nn.ModuleList(
        convolution(before, after, 1) if before != after else nn.Identity()
        for before, after in pairwise(widths)
    )


def embed(embedding: nn.Linear, labels: Tensor | None) -> Tensor:
    """The embedding of each label: float [n, size]."""
    if labels is None:
        raise ValueError("a network with classes needs labels")
    return functional.embedding(labels, embedding.weight.T)
