"""article-mlp: fully connected, with one BatchNorm in the generator; article-least-squares too."""

from __future__ import annotations

from torch import Tensor, nn

from ganpipe.networks.articles.keras import batch_norm, glorot

SLOPE = 0.2  # said in print, so not Keras's


class Generator(nn.Module):
    """Latents float [n, latent] to images float [n, *shape] in [-1, 1]."""

    def __init__(self, shape: tuple[int, int, int], latent: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.layers = nn.Sequential(
            nn.Linear(latent, 256),
            nn.LeakyReLU(SLOPE),
            nn.Linear(256, 512),
            batch_norm(512),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, channels * height * width),
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
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * height * width, 512),
            nn.LeakyReLU(SLOPE),
            nn.Linear(512, 1),
        )
        glorot(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        del labels
        logits: Tensor = self.layers(images)
        return logits.squeeze(1)
