"""article-dense-conv: a dense generator against one strided convolution."""

from __future__ import annotations

from torch import Tensor, nn

from ganpipe.networks.articles.keras import glorot
from ganpipe.networks.articles.shapes import KERNEL


class Generator(nn.Module):
    """Latents float [n, latent] to images float [n, *shape] in [-1, 1]."""

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.layers = nn.Sequential(
            nn.Linear(latent, 128),
            nn.ReLU(),
            nn.Linear(128, channels * height * width),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )
        glorot(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        del labels
        images: Tensor = self.layers(latents)
        return images


class Discriminator(nn.Module):
    """Images float [n, *shape] to logits float [n]."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width = shape
        # valid padding: 28 pixels become 12
        positions = ((height - KERNEL) // 2 + 1) * ((width - KERNEL) // 2 + 1)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, KERNEL, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * positions, 1),
        )
        glorot(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        del labels
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)
