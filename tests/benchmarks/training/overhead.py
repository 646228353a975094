"""What ganpipe's loop costs beside the arithmetic: a real run against bare steps, in turns.

The run pauses between two of its steps, always after whole ticks; bare steps of the same
arithmetic are timed, and the run goes on. A bare step is forward, backward and optimizer of both
networks with the same losses, precision and layout, on batches that are in memory, and nothing
else: no curves, ranks or gradient norms. With the generator's average it leaves the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from ganpipe.networks import NetworkConfig
from ganpipe.networks.precision import full
from ganpipe.params import TrainParams
from ganpipe.training import state
from ganpipe.training.batches import Batch, Batches
from ganpipe.training.loop import Run, check
from ganpipe.training.losses import LOSSES, gradient_penalty
from ganpipe.training.schedules import ema_decay
from ganpipe.training.trainer import Networks, frozen
from tests.benchmarks.figures import Figure, ratio, silence
from tests.benchmarks.training.place import Place

NEVER = 1e6  # kimg
IN_MEMORY = 64  # batches


class Bare:
    """The arithmetic of a step and no more."""

    def __init__(self, config: NetworkConfig, params: TrainParams) -> None:
        self.networks, self.params = Networks.fresh(config, params), params
        self.loss = LOSSES[params.loss]
        betas = (params.beta1, params.beta2)
        networks = (self.networks.generator, self.networks.discriminator)
        self.adams = [
            torch.optim.Adam(network.parameters(), params.lr, betas, params.eps, fused=True)
            for network in networks
        ]
        self.images = self.steps = 0

    def step(self, real: Tensor, latents: Tensor) -> None:
        """One step of each network."""
        params, networks = self.params, self.networks
        in_bf16 = torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bf16")
        with in_bf16:
            fake = networks.generator(latents)
        layout = torch.channels_last if params.channels_last else torch.contiguous_format
        both = torch.cat([real, full(fake.detach())]).contiguous(memory_format=layout)
        due = self.steps % params.penalty_every == 0
        both.requires_grad_(due)
        with in_bf16:
            scores = networks.discriminator(both)
        losses = self.loss.discriminator(*full(scores).chunk(2))
        total = losses.mean()
        if due:
            with in_bf16:
                r1, r2 = gradient_penalty(both, scores).chunk(2)
            weight = 0.5 * params.penalty_every
            total = total + weight * (params.r1 * r1.mean() + params.r2 * r2.mean())
        self._down(1, total)
        with frozen(networks.discriminator), in_bf16:
            scores_fake = full(networks.discriminator(fake))
            with torch.no_grad():
                scores_real = full(networks.discriminator(real))
        self._down(0, self.loss.generator(scores_real, scores_fake).mean())
        self.images += len(real)
        self.steps += 1

    def _down(self, number: int, loss: Tensor) -> None:
        self.adams[number].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adams[number].step()

    @torch.no_grad()
    def step_and_average(self, real: Tensor, latents: Tensor) -> None:
        """One step and what it does to the generator's average."""
        with torch.enable_grad():
            self.step(real, latents)
        params, networks = self.params, self.networks
        decay = ema_decay(self.images, len(real), params.ema_kimg, params.ema_rampup)
        average, generator = networks.average, networks.generator
        torch._foreach_lerp_(
            list(average.parameters()), list(generator.parameters()), weight=1.0 - decay
        )
        for kept, new in zip(average.buffers(), generator.buffers(), strict=True):
            kept.copy_(new)


class Pauses:
    """A run's batches that interrupt it every so many images, to time something else."""

    def __init__(
        self, batches: Batches, every: int, others: dict[str, Callable[[], float]]
    ) -> None:
        self.batches, self.every, self.others = batches, every, others
        self.seconds: dict[str, list[float]] = {name: [] for name in ("run", *others)}
        self._began: float | None = None

    def at(self, shown: int) -> Batch:
        """The run's next batch; between two blocks of the run, a block of each other."""
        if shown % self.every == 0:
            if self._began is not None:
                self.seconds["run"].append(perf_counter() - self._began)
                for name, work in self.others.items():
                    self.seconds[name].append(work())
            self._began = perf_counter()
        return self.batches.at(shown)

    def close(self) -> None:
        self.batches.close()


def measure(place: Place) -> list[Figure]:
    """Blocks of two ticks; the first of each is warm-up."""
    dataset = place.fashion()
    tick = place.size(62, 2)  # steps, about the default of train.tick_kimg
    rounds = place.size(10, 2)
    model, train = place.settings("dcgan")
    # one batch more: a block ends when the next begins, after its second tick
    kimg = (2 * tick * (rounds + 1) + 1) * train.batch / 1000
    off = {"snapshot_kimg": NEVER, "snapshot_samples": 0, "state_kimg": NEVER}
    train = train.model_copy(update={**off, "kimg": kimg, "tick_kimg": tick * train.batch / 1000})
    config = check(dataset, model, train)
    scratch = place.below("overhead")
    shutil.rmtree(scratch, ignore_errors=True)
    run = Run(dataset, config, train, scratch)
    bare = Bare(config, train)
    kept = [run.batches.at(number * train.batch)[:2] for number in range(IN_MEMORY)]

    def block(step: Callable[[Tensor, Tensor], None]) -> float:
        began = perf_counter()
        for number in range(2 * tick):
            step(*kept[number % IN_MEMORY])
        return perf_counter() - began

    others = {
        "bare": lambda: block(bare.step),
        "bare, with the average": lambda: block(bare.step_and_average),
    }
    pauses = Pauses(run.batches, 2 * tick * train.batch, others)
    run.batches = pauses  # type: ignore[assignment]
    with silence():
        run.to_the_end()
    seconds = {name: taken[1:] for name, taken in pauses.seconds.items()}
    per_step = 1000 / (2 * tick)
    figures = [
        Figure(f"step, {name}", per_step * median(taken), "ms") for name, taken in seconds.items()
    ]
    for name, ceiling in (("bare", 1.03), ("bare, with the average", None)):
        figure = ratio(f"run v {name}", seconds["run"], seconds[name])
        figures.append(
            Figure(figure.name, figure.value, figure.unit, None, ceiling, figure.samples)
        )
    return [*figures, *_saves(run, seconds["run"], 2 * tick * train.batch)]


def _saves(run: Run, blocks: list[float], images: int) -> list[Figure]:
    """What a save of the exact state takes, and its share at the default interval."""
    taken = []
    for _ in range(5):
        began = perf_counter()
        state.save(run.trainer, run.states, config=run.config)
        taken.append(perf_counter() - began)
    between = median(blocks) / images * 1000 * TrainParams().state_kimg
    return [
        Figure("save of the exact state", 1000 * median(taken), "ms", samples=taken),
        Figure("saves v run, every 20 kimg", 100 * median(taken) / between, "%"),
    ]
