"""article-mnist-bn: a dense generator with BatchNorm against two strided convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from ganpipe.networks.articles.keras import SLOPE, batch_norm, glorot, probability


class Generator(nn.Module):
    """Latents float [n, latent] to images float [n, *shape] in [-1, 1].

    The last layer is missing in print.
    """

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.layers = nn.Sequential(
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
        glorot(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        del labels
        images: Tensor = self.layers(latents)
        return images


class Discriminator(nn.Module):
    """Images float [n, *shape] to probabilities of being real, float [n] in [0, 1]."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        # `same` for 4x4 with stride 2: one pixel on every side, as long as the side is even
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 64, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(64, 128, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(128 * (height // 4) * (width // 4), 1),
        )
        glorot(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        del labels
        return probability(self.layers(images)).squeeze(1)
