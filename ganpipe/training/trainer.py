"""The algorithm: one adversarial step, and everything that the next step depends on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganpipe.networks import NetworkConfig, build_discriminator, build_generator
from ganpipe.params import TrainParams
from ganpipe.training.losses import LOSSES, gradient_penalty
from ganpipe.training.schedules import ema_decay

CURVES = ("loss_generator", "loss_discriminator", "score_real", "score_fake", "r1", "r2")


@dataclass
class Networks:
    """Both networks and the generator's moving average, which is what gets sampled."""

    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module

    @staticmethod
    def fresh(config: NetworkConfig, params: TrainParams) -> Networks:
        """Newly initialised networks: a pure function of the configuration and train.seed."""
        with torch.random.fork_rng():
            torch.manual_seed(params.seed)
            generator = build_generator(config)
            discriminator = build_discriminator(config)
        for network in (generator, discriminator):
            network.to(params.device).to(memory_format=layout(params))
        average = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
        return Networks(generator, discriminator, average)


def layout(params: TrainParams) -> torch.memory_format:
    """How images, features and weights lie in memory."""
    return torch.channels_last if params.channels_last else torch.contiguous_format


class Trainer:
    """Two networks, their optimizers and the counters; `step` moves them by one batch."""

    def __init__(self, networks: Networks, params: TrainParams) -> None:
        self.networks, self.params = networks, params
        self.loss = LOSSES[params.loss]
        self.optimizers = {
            "generator": self._adam(networks.generator),
            "discriminator": self._adam(networks.discriminator),
        }
        self.images = 0
        self.steps = 0
        device = next(networks.generator.parameters()).device
        self.device = device.type
        # sums since the last point of the curves, and how many steps each sum holds
        self.sums = torch.zeros(len(CURVES), device=device)
        self.counts = torch.zeros(len(CURVES))

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        betas = (self.params.beta1, self.params.beta2)
        return torch.optim.Adam(
            network.parameters(), lr=self.params.lr, betas=betas, eps=1e-8, fused=True
        )

    def _autocast(self) -> AbstractContextManager[None]:
        enabled = self.params.precision == "bf16"
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=enabled)

    def step(self, real: Tensor, latents: Tensor, labels: Tensor | None = None) -> None:
        """One step of each network on real images float [n, C, H, W] and latents [n, latent].

        labels: the classes int64 [n] of the real images, which the generated ones get too, so
        that relativistic pairs are of one class. The discriminator learns first; the generator
        answers to the new discriminator with the same fakes, which saves a forward pass of the
        generator.
        """
        penalise = self.steps % self.params.penalty_every == 0
        with self._autocast():
            fake = self.networks.generator(latents, labels)
        self._discriminator_step(real, fake.detach().float(), labels, penalise=penalise)
        self._generator_step(real, fake, labels)
        self.images += real.shape[0]
        self.steps += 1
        self._update_average(real.shape[0])

    def _discriminator_step(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, *, penalise: bool
    ) -> None:
        both = torch.cat([real, fake]).contiguous(memory_format=layout(self.params))
        penalise = penalise and self.params.r1 + self.params.r2 > 0
        both.requires_grad_(penalise)
        with self._autocast():
            scores = self.networks.discriminator(
                both, None if labels is None else torch.cat([labels, labels])
            )
        scores_real, scores_fake = scores.float().chunk(2)
        losses = self.loss.discriminator(scores_real, scores_fake)
        total = losses.mean()
        if penalise:
            with self._autocast():
                squares = gradient_penalty(both, scores)
            r1, r2 = (half.mean() for half in squares.chunk(2))
            weight = 0.5 * self.params.penalty_every
            total = total + weight * (self.params.r1 * r1 + self.params.r2 * r2)
            self._note(r1=r1, r2=r2)
        self._apply("discriminator", total)
        self._note(
            loss_discriminator=losses.mean(),
            score_real=scores_real.mean(),
            score_fake=scores_fake.mean(),
        )

    def _generator_step(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> None:
        discriminator = self.networks.discriminator
        with frozen(discriminator), self._autocast():
            scores_real = scores_fake = discriminator(fake, labels).float()
            if self.loss.relativistic:
                with torch.no_grad():
                    scores_real = discriminator(real, labels).float()
        total = self.loss.generator(scores_real, scores_fake).mean()
        self._apply("generator", total)
        self._note(loss_generator=total)

    def _apply(self, name: str, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    @torch.no_grad()
    def _update_average(self, batch: int) -> None:
        params = self.params
        decay = ema_decay(self.images, batch, params.ema_kimg, params.ema_rampup)
        average, generator = self.networks.average, self.networks.generator
        torch._foreach_lerp_(
            list(average.parameters()), list(generator.parameters()), weight=1.0 - decay
        )
        for kept, new in zip(average.buffers(), generator.buffers(), strict=True):
            kept.copy_(new)

    def _note(self, **values: Tensor) -> None:
        """Add to the sums of the curves without waiting for the device."""
        for name, value in values.items():
            place = CURVES.index(name)
            self.sums[place] += value.detach()
            self.counts[place] += 1

    def take_curves(self) -> dict[str, float]:
        """Means since the last call, in the order of CURVES; a curve without steps is left out."""
        means = (self.sums.cpu() / self.counts).tolist()
        self.sums.zero_()
        counted = [count > 0 for count in self.counts.tolist()]
        self.counts.zero_()
        return {
            name: mean for name, mean, known in zip(CURVES, means, counted, strict=True) if known
        }


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No gradients for a network's weights inside the block, though they flow through it."""
    network.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        network.requires_grad_(requires_grad=True)
