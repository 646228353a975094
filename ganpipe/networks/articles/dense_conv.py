"""article-dense-conv: a dense generator against one strided convolution."""

from __future__ import annotations

from torch import nn

from ganpipe.networks.articles.keras import Critic, Stack
from ganpipe.networks.articles.shapes import KERNEL


class Generator(Stack):
    """Latents float [n, latent] to images float [n, *shape] in [-1, 1]."""

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        channels, height, width = shape
        super().__init__(
            nn.Linear(latent, 128),
            nn.ReLU(),
            nn.Linear(128, channels * height * width),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )


class Discriminator(Critic):
    """Images float [n, *shape] to logits float [n]."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        # valid padding: 28 pixels become 12
        positions = ((height - KERNEL) // 2 + 1) * ((width - KERNEL) // 2 + 1)
        super().__init__(
            nn.Conv2d(channels, 32, KERNEL, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * positions, 1),
        )
