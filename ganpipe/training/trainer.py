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
from ganpipe.training import augment
from ganpipe.training.curves import Means
from ganpipe.training.losses import LOSSES, full, gradient_penalty, lipschitz_penalty
from ganpipe.training.schedules import Settings, ema_decay, settings


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
        self.means = Means(device)
        # what ada has come to; elsewhere the schedule says it
        self.strength = torch.tensor(params.augment_strength, device=device)

    def _adam(self, network: nn.Module) -> torch.optim.Adam:
        params = self.params
        betas = (params.beta1, params.beta2)
        return torch.optim.Adam(
            network.parameters(), lr=params.lr, betas=betas, eps=params.eps, fused=True
        )

    def _autocast(self) -> AbstractContextManager[None]:
        enabled = self.params.precision == "bf16"
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=enabled)

    def step(
        self,
        real: Tensor,
        latents: Tensor,
        labels: Tensor | None = None,
        draws: Tensor | None = None,
    ) -> None:
        """One step of each network on real images float [n, C, H, W] and latents [n, latent].

        labels: the classes int64 [n] of the real images, which the generated ones get too, so
        that relativistic pairs are of one class. draws: uniform in [0, 1), float [n, DRAWS], for
        what is random in a step (batches.py). The discriminator learns first; the generator
        answers to the new discriminator with the same fakes, which saves a forward pass of the
        generator.
        """
        now = settings(self.params, self.images)
        self._schedule(now)
        with self._autocast():
            fake = self.networks.generator(latents, labels)
        if self.params.augment != "none":
            real, fake = self._augment(real, full(fake), draws, now)
        self._discriminator_step(real, full(fake.detach()), labels, draws, now)
        self._generator_step(real, fake, labels)
        self.images += real.shape[0]
        self.steps += 1
        self._update_average(real.shape[0], now)

    def _schedule(self, now: Settings) -> None:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = now.lr, (self.params.beta1, now.beta2)

    def _augment(
        self, real: Tensor, fake: Tensor, draws: Tensor | None, now: Settings
    ) -> tuple[Tensor, Tensor]:
        """Both halves through the same kind of augmentation, each image with its own draws."""
        draws = needed(draws)
        adaptive = self.params.augment == "ada"
        strength = (
            self.strength if adaptive else torch.full_like(self.strength, now.augment_strength)
        )
        self.means.note(augment=strength)
        for_real, for_fake = augment.split(draws)
        policy = augment.POLICIES[self.params.augment]
        return policy(real, for_real, strength), policy(fake, for_fake, strength)

    def _discriminator_step(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, draws: Tensor | None, now: Settings
    ) -> None:
        params = self.params
        due = self.steps % params.penalty_every == 0
        penalise = due and now.r1 + now.r2 > 0.0
        both = torch.cat([real, fake]).contiguous(memory_format=layout(params))
        both.requires_grad_(penalise)
        with self._autocast():
            scores = self._score(both, labels)
        scores_real, scores_fake = full(scores).chunk(2)
        losses = self.loss.discriminator(scores_real, scores_fake)
        total = losses.mean()
        if penalise:
            with self._autocast():
                squares = gradient_penalty(both, scores)
            r1, r2 = (half.mean() for half in squares.chunk(2))
            total = total + 0.5 * params.penalty_every * (now.r1 * r1 + now.r2 * r2)
            self.means.note(r1=r1, r2=r2)
        if due and params.gp > 0.0:
            gp = self._lipschitz(real, fake, labels, draws)
            total = total + params.penalty_every * params.gp * gp
            self.means.note(gp=gp)
        norm = self._apply("discriminator", total)
        with torch.no_grad():
            rank = (scores_real[:, None] > scores_fake).float().mean()
            if params.augment == "ada":
                augment.adapt_(self.strength, rank, len(real), params)
        self.means.note(
            loss_discriminator=losses.mean(),
            score_real=scores_real.mean(),
            score_fake=scores_fake.mean(),
            rank=rank,
            gradient_discriminator=norm,
        )

    def _score(self, both: Tensor, labels: Tensor | None) -> Tensor:
        """Scores of real and generated images that have the same classes."""
        scores: Tensor = self.networks.discriminator(
            both, None if labels is None else torch.cat([labels, labels])
        )
        return scores

    def _lipschitz(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, draws: Tensor | None
    ) -> Tensor:
        """WGAN-GP's penalty at a random point between each real image and its fake."""
        between = torch.lerp(real, fake, needed(draws)[:, 0, None, None, None].to(real.dtype))
        between = between.contiguous(memory_format=layout(self.params)).requires_grad_()
        with self._autocast():
            scores = self.networks.discriminator(between, labels)
            return lipschitz_penalty(between, scores).mean()

    def _generator_step(self, real: Tensor, fake: Tensor, labels: Tensor | None) -> None:
        discriminator = self.networks.discriminator
        with frozen(discriminator), self._autocast():
            scores_real = scores_fake = full(discriminator(fake, labels))
            if self.loss.relativistic:
                with torch.no_grad():
                    scores_real = full(discriminator(real, labels))
        total = self.loss.generator(scores_real, scores_fake).mean()
        norm = self._apply("generator", total)
        self.means.note(loss_generator=total, gradient_generator=norm)

    def _apply(self, name: str, loss: Tensor) -> Tensor:
        """One step of one network down the gradient of a loss; returns the gradient's norm."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        weights = optimizer.param_groups[0]["params"]
        norm = torch.nn.utils.get_total_norm([w.grad for w in weights if w.grad is not None])
        optimizer.step()
        return norm

    @torch.no_grad()
    def _update_average(self, batch: int, now: Settings) -> None:
        decay = ema_decay(self.images, batch, now.ema_kimg, self.params.ema_rampup)
        average, generator = self.networks.average, self.networks.generator
        torch._foreach_lerp_(
            list(average.parameters()), list(generator.parameters()), weight=1.0 - decay
        )
        for kept, new in zip(average.buffers(), generator.buffers(), strict=True):
            kept.copy_(new)


def needed(draws: Tensor | None) -> Tensor:
    """The draws of a step that has something random in it."""
    if draws is None:
        raise ValueError("augmentation and train.gp need the draws of the batch")
    return draws


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No gradients for a network's weights inside the block, though they flow through it."""
    network.requires_grad_(requires_grad=False)
    try:
        yield
    finally:
        network.requires_grad_(requires_grad=True)
