"""article-mlp: fully connected, with one BatchNorm in the generator; article-least-squares too."""

from __future__ import annotations

from torch import nn

from ganpipe.networks.articles.keras import Critic, Stack, batch_norm

SLOPE = 0.2  # said in print, so not Keras's


class Generator(Stack):
    """Latents float [n, latent] to images float [n, *shape] in [-1, 1]."""

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        channels, height, width = shape
        super().__init__(
            nn.Linear(latent, 256),
            nn.LeakyReLU(SLOPE),
            nn.Linear(256, 512),
            batch_norm(512),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, channels * height * width),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )


class Discriminator(Critic):
    """Images float [n, *shape] to logits float [n]."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        super().__init__(
            nn.Flatten(),
            nn.Linear(channels * height * width, 512),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, 1),
        )
