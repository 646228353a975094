"""The algorithm: one adversarial step, and everything that the next step depends on.

With several processes each steps on its share of the batch, and gradients and whatever is noted
are averaged over them before they are used, so all come to the same. Nothing in a step waits for
a GPU: no value is read, what is noted and adapted stays on the device (not run on one here).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganpipe.networks import NetworkConfig, build_discriminator, build_generator
from ganpipe.networks.precision import full
from ganpipe.params import TrainParams
from ganpipe.training import augment
from ganpipe.training.batchnorm import share_statistics
from ganpipe.training.curves import Means
from ganpipe.training.distributed import World
from ganpipe.training.losses import LOSSES, gradient_penalty, lipschitz_penalty
from ganpipe.training.schedules import Settings, ema_decay, settings
from ganpipe.training.start import SCRATCH


@dataclass
class Networks:
    """Both networks and the generator's moving average, which is what gets sampled."""

    generator: nn.Module
    discriminator: nn.Module
    average: nn.Module

    @staticmethod
    def fresh(config: NetworkConfig, params: TrainParams) -> Networks:
        """Newly initialised networks: a pure function of the configuration and train.seed."""
        with torch.random.fork_rng(devices=[]):
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

    def __init__(self, networks: Networks, params: TrainParams, world: World | None = None) -> None:
        """`world`: the processes that train together; all make one at the same time."""
        self.networks, self.params = networks, params
        self.world = world or World()
        self._unite()
        self.loss = LOSSES[params.loss]
        self.optimizers = {
            "generator": self._adam(networks.generator),
            "discriminator": self._adam(networks.discriminator),
        }
        self.images = 0
        self.steps = 0
        # an average that comes from a checkpoint has no untrained weights to forget
        begun = params.start != SCRATCH and params.start_counter == "restart"
        self.rampup = 0.0 if begun else params.ema_rampup
        device = next(networks.generator.parameters()).device
        self.device = device.type
        self.means = Means(device)
        # what ada has come to, unless a schedule says how strong it is
        self.adaptive = params.augment == "ada" and params.augment_final is None
        self.strength = torch.tensor(params.augment_strength, device=device)
        self._generate = compiled(networks.generator) if params.compile else networks.generator

    def _unite(self) -> None:
        """The first process's weights for all, and BatchNorm over all shares."""
        networks, world = self.networks, self.world
        if world.size == 1:
            return
        for network in (networks.generator, networks.discriminator):
            share_statistics(network, world)
        for network in (networks.generator, networks.discriminator, networks.average):
            floating = [t for t in network.state_dict().values() if t.is_floating_point()]
            world.copy_first_(floating)

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

        n: this process's share of the batch, equally large in all.
        labels: the classes int64 [n] of the real images, which the generated ones get too, so
        that relativistic pairs are of one class. draws: uniform in [0, 1), float [n, DRAWS], for
        what is random in a step (batches.py). The discriminator learns first; the generator
        answers to the new discriminator with the same fakes, which saves a forward pass of the
        generator.
        """
        now = settings(self.params, self.images)
        self._schedule(now)
        with self._autocast():
            fake = self._generate(latents, labels)
        if self.params.augment != "none":
            real, fake = self._augment(real, full(fake), draws)
        self._discriminator_step(real, full(fake.detach()), labels, draws, now)
        self._generator_step(real, fake, labels)
        batch = len(real) * self.world.size
        self.images += batch
        self.steps += 1
        self._update_average(batch, now)

    def _schedule(self, now: Settings) -> None:
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = now.lr, (self.params.beta1, now.beta2)
        if not self.adaptive:
            self.strength.fill_(now.augment_strength)

    def _augment(self, real: Tensor, fake: Tensor, draws: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both halves through the same kind of augmentation, each image with its own draws."""
        self.means.note(augment=self.strength)
        for_real, for_fake = augment.split(needed(draws))
        policy = augment.POLICIES[self.params.augment]
        return policy(real, for_real, self.strength), policy(fake, for_fake, self.strength)

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
        noted = {"loss_discriminator": total}
        if penalise:
            with self._autocast():
                squares = gradient_penalty(both, scores)
            r1, r2 = (half.mean() for half in squares.chunk(2))
            total = total + 0.5 * params.penalty_every * (now.r1 * r1 + now.r2 * r2)
            noted |= {"r1": r1, "r2": r2}
        if due and params.gp > 0.0:
            gp = self._lipschitz(real, fake, labels, draws)
            total = total + params.penalty_every * params.gp * gp
            noted["gp"] = gp
        self._apply("discriminator", total, noted)
        self._compare(scores_real.detach(), scores_fake.detach())

    def _compare(self, scores_real: Tensor, scores_fake: Tensor) -> None:
        """Note how the whole batch's scores lie, and let ada answer: every pair counts."""
        scores_real, scores_fake = self.world.gather(torch.stack([scores_real, scores_fake]))
        rank = (scores_real[:, None] > scores_fake).float().mean()
        if self.adaptive:
            augment.adapt_(self.strength, rank, len(scores_real), self.params)
        self.means.note(score_real=scores_real.mean(), score_fake=scores_fake.mean(), rank=rank)

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
        self._apply("generator", total, {"loss_generator": total})

    def _apply(self, name: str, loss: Tensor, noted: dict[str, Tensor]) -> None:
        """One step of one network down the gradient of a loss, averaged with what is noted."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        weights = optimizer.param_groups[0]["params"]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        noted = {curve: value.detach() for curve, value in noted.items()}
        self.world.average_([*gradients, *noted.values()])
        noted[f"gradient_{name}"] = torch.nn.utils.get_total_norm(gradients)
        optimizer.step()
        self.means.note(**noted)

    @torch.no_grad()
    def _update_average(self, batch: int, now: Settings) -> None:
        decay = ema_decay(self.images, batch, now.ema_kimg, self.rampup)
        average, generator = self.networks.average, self.networks.generator
        torch._foreach_lerp_(
            list(average.parameters()), list(generator.parameters()), weight=1.0 - decay
        )
        for kept, new in zip(average.buffers(), generator.buffers(), strict=True):
            kept.copy_(new)


def compiled(generator: nn.Module) -> Callable[[Tensor, Tensor | None], Tensor]:
    """The generator as torch.compile calls it; the module, its weights and names stay as they are.

    Only the generator: what is compiled cannot be differentiated twice, and the discriminator is,
    for its penalties. On a GPU with CUDA graphs (not run here), which are safe for it alone: its
    images are dead before the next step overwrites them, and Adam changes the weights in place.
    The rest of a step is none: its learning rate, weights and penalties change between steps.
    """
    cuda = next(generator.parameters()).is_cuda
    call: Callable[[Tensor, Tensor | None], Tensor] = torch.compile(
        generator, mode="reduce-overhead" if cuda else "default", dynamic=False
    )
    return call


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
