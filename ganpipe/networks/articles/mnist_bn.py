"""article-mnist-bn: a dense generator with BatchNorm against two strided convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from ganpipe.networks.articles.keras import SLOPE, Critic, Stack, batch_norm, probability


class Generator(Stack):
    """Latents float [n, latent] to images float [n, *shape] in [-1, 1].

    The last layer is missing in print.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        channels, height, width = shape
        super().__init__(
            nn.Linear(latent, 256),
            nn.ReLU(),
            batch_norm(256),
            nn.Linear(256, 256),
            nn.ReLU(),
            batch_norm(256),
            nn.Linear(256, channels * height * width),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )


class Discriminator(Critic):
    """Images float [n, *shape] to probabilities of being real, float [n] in [0, 1]."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        # `same` for 4x4 with stride 2: one pixel on every side, as long as the side is even
        super().__init__(
            nn.Conv2d(channels, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(64, 128, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(128 * (height // 4) * (width // 4), 1),
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return probability(super().forward(images, labels))
