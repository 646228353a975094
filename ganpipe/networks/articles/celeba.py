"""article-celeba: transposed convolutions against two convolutions at the full resolution."""

from __future__ import annotations

from torch import nn

from ganpipe.networks.articles.keras import SLOPE, Critic, DoubleUp, Stack


class Generator(Stack):
    """Latents float [n, latent] to images float [n, *shape] in [-1, 1].

    In print the first transposed convolution has stride 1, which makes images of half the size.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        channels, height, width = shape
        base = (128, height // 4, width // 4)
        super().__init__(
            nn.Linear(latent, base[0] * base[1] * base[2]),
            nn.ReLU(),
            nn.Unflatten(1, base),
            DoubleUp(128, 64),
            DoubleUp(64, 32),
            nn.Conv2d(32, channels, 5, padding=2),
            nn.Tanh(),
        )


class Discriminator(Critic):
    """Images float [n, *shape] to logits float [n]; the printed sigmoid is the loss's."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        super().__init__(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(64 * height * width, 1),
        )
