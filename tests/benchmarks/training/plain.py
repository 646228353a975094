"""What ganpipe's step is measured against: the same algorithm as people write it.

Networks, losses, penalties and the average are ganpipe's parameters; how they are computed is not:
float32, NCHW, and Adam and every loop as torch has them by default.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ganpipe import images
from ganpipe.data.dataset import Dataset
from ganpipe.networks import NetworkConfig, build_discriminator, build_generator
from ganpipe.params import TrainParams
from ganpipe.training.losses import LOSSES
from ganpipe.training.schedules import ema_decay

Loader = torch.utils.data.DataLoader[tuple[Tensor, Tensor]]
WORKERS = 2


class Plain:
    """Both networks in float32 and NCHW, and the steps that a script takes with them."""

    def __init__(self, config: NetworkConfig, params: TrainParams) -> None:
        torch.manual_seed(params.seed)
        self.params, self.latent = params, config.latent
        self.generator = build_generator(config)
        self.discriminator = build_discriminator(config)
        self.average = copy.deepcopy(self.generator).eval()
        self.adams = [
            torch.optim.Adam(
                network.parameters(), params.lr, (params.beta1, params.beta2), params.eps
            )
            for network in (self.generator, self.discriminator)
        ]
        self.loss = LOSSES[params.loss]
        self.images = self.steps = 0

    def step(self, real: Tensor, latents: Tensor) -> None:
        """The operations of ganpipe's step, one for one, in eager float32."""
        fake = self.generator(latents)
        both = torch.cat([real, fake.detach()]).requires_grad_(self._due)
        scores = self.discriminator(both)
        self._learn_to_tell(*scores.chunk(2), *_norms(scores, both, self._due).chunk(2))
        self.discriminator.requires_grad_(requires_grad=False)
        with torch.no_grad():
            scores_real = self.discriminator(real)
        self._learn_to_make(scores_real, self.discriminator(fake))
        self.discriminator.requires_grad_(requires_grad=True)
        self._average(len(real))

    def usual_step(self, real: Tensor) -> tuple[float, float]:
        """As scripts have it: real and fake apart, nothing frozen, the losses read each time."""
        real.requires_grad_(self._due)
        fake = self.generator(torch.randn(len(real), self.latent))
        shown = fake.detach().requires_grad_(self._due)
        scores_real, scores_fake = self.discriminator(real), self.discriminator(shown)
        r1, r2 = _norms(scores_real, real, self._due), _norms(scores_fake, shown, self._due)
        telling = self._learn_to_tell(scores_real, scores_fake, r1, r2)
        making = self._learn_to_make(self.discriminator(real.detach()), self.discriminator(fake))
        self._average(len(real))
        return telling.item(), making.item()

    @property
    def _due(self) -> bool:
        return self.steps % self.params.penalty_every == 0

    def _learn_to_tell(self, real: Tensor, fake: Tensor, r1: Tensor, r2: Tensor) -> Tensor:
        params = self.params
        losses = self.loss.discriminator(real, fake)
        weight = 0.5 * params.penalty_every
        total = losses.mean() + weight * (params.r1 * r1.mean() + params.r2 * r2.mean())
        self.adams[1].zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.adams[1].step()
        return total

    def _learn_to_make(self, real: Tensor, fake: Tensor) -> Tensor:
        total = self.loss.generator(real, fake).mean()
        self.adams[0].zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        self.adams[0].step()
        return total

    @torch.no_grad()
    def _average(self, batch: int) -> None:
        self.images += batch
        self.steps += 1
        decay = ema_decay(self.images, batch, self.params.ema_kimg, self.params.ema_rampup)
        for kept, new in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)
        buffers = zip(self.average.buffers(), self.generator.buffers(), strict=True)
        for old, fresh in buffers:
            old.copy_(fresh)


def _norms(scores: Tensor, pixels: Tensor, due: bool) -> Tensor:
    """||dD/dx||^2 of each image; zeros in a step without penalties."""
    if not due:
        return torch.zeros(len(pixels))
    (slopes,) = torch.autograd.grad(scores.sum(), pixels, create_graph=True)
    return slopes.square().sum(dim=(1, 2, 3))


def write_pngs(dataset: Dataset, folder: Path, count: int) -> None:
    """The first images as files for torchvision's ImageFolder, in one class."""
    (folder / "all").mkdir(parents=True)
    for number in range(count):
        (image,) = dataset.batch(np.array([number]))
        (folder / "all" / f"{number:06d}.png").write_bytes(images.png_bytes(image))


def loader(folder: Path, batch: int) -> Loader:
    """ImageFolder and DataLoader as the usual script sets them up for grey images."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    prepare = [transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    return torch.utils.data.DataLoader(
        ImageFolder(folder, transforms.Compose(prepare)),
        batch_size=batch,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        persistent_workers=True,
    )


def endless(batches: Loader) -> Iterator[Tensor]:
    """Images of one epoch after another: float32 [n, C, H, W] in [-1, 1]."""
    while True:
        for real, _ in batches:
            yield real
