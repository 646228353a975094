"""Where the time of a training step goes: forward, backward, optimizer, and all else.

Each call of a network, a loss, the autograd engine and an optimizer is timed by a wrapper around
it; what is left of the step (batches, curves, the average, gradient norms, Python) is outside. A
CPU has done its work when a call returns, so no synchronisation and no profiler distorts it; a
wrapper costs a microsecond.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import torch

from ganpipe.networks import NetworkConfig
from ganpipe.training.batches import Batches
from ganpipe.training.trainer import Networks, Trainer
from tests.benchmarks.figures import Figure
from tests.benchmarks.training.place import Place

INSIDE = ("forward", "backward", "optimizer")
OUTSIDE = ("batches", "average", "curves")
CONFIGS = ("dcgan", "resnet", "r3gan-tiny")
WARM = 3


class Clock:
    """Seconds by kind. Of calls inside each other only the outermost counts."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._busy = False

    def timed(self, kind: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **options: Any) -> Any:
            if self._busy:
                return work(*args, **options)
            self._busy = True
            began = perf_counter()
            try:
                return work(*args, **options)
            finally:
                self.seconds[kind] += perf_counter() - began
                self._busy = False

        return wrapper


@contextmanager
def instrumented(trainer: Trainer, batches: Batches, clock: Clock) -> Iterator[None]:
    """Wrap what a step calls; torch itself is put back at the end."""
    networks = trainer.networks
    for network in (networks.generator, networks.discriminator):
        network.forward = clock.timed("forward", network.forward)
    trainer.loss = replace(
        trainer.loss,
        discriminator=clock.timed("forward", trainer.loss.discriminator),
        generator=clock.timed("forward", trainer.loss.generator),
    )
    for optimizer in trainer.optimizers.values():
        for name in ("step", "zero_grad"):
            setattr(optimizer, name, clock.timed("optimizer", getattr(optimizer, name)))
    for thing, name, kind in (
        (batches, "at", "batches"),
        (trainer, "_update_average", "average"),
        (trainer.means, "note", "curves"),
    ):
        setattr(thing, name, clock.timed(kind, getattr(thing, name)))
    grad, backward = torch.autograd.grad, torch.Tensor.backward
    torch.autograd.grad = clock.timed("backward", grad)
    torch.Tensor.backward = clock.timed("backward", backward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.autograd.grad = grad
        torch.Tensor.backward = backward  # type: ignore[method-assign]


def measure(place: Place) -> list[Figure]:
    """Shares of each step, from its batch to its average: medians over the steps."""
    figures = []
    for name in place.configs or CONFIGS:
        shares = _shares(place, name)
        outside = [1.0 - sum(share[kind] for kind in INSIDE) for share in shares]
        ceiling = 5.0 if name == "dcgan" else None
        label = f"{name}: outside forward, backward, optimizer"
        samples = [100 * share for share in outside]
        figures.append(Figure(label, median(samples), "%", None, ceiling, samples))
        for kind in (*INSIDE, *OUTSIDE):
            share = 100 * median(each[kind] for each in shares)
            figures.append(Figure(f"{name}: {kind}", share, "%"))
    return figures


def _shares(place: Place, config: str) -> list[dict[str, float]]:
    """Of each step: the share of its time by kind."""
    dataset = place.fashion()
    model, train = place.settings(config)
    shape = NetworkConfig.of(model, dataset.height, dataset.width, dataset.channels)
    trainer = Trainer(Networks.fresh(shape, train), train)
    batches = Batches(dataset, train.seed, train.batch, model.latent, train.device)
    clock, shares = Clock(), []
    with closing(batches), instrumented(trainer, batches, clock):
        for _ in range(WARM + place.size(150, 3)):
            clock.seconds.clear()
            began = perf_counter()
            trainer.step(*batches.at(trainer.images))
            whole = perf_counter() - began
            shares.append({kind: clock.seconds[kind] / whole for kind in (*INSIDE, *OUTSIDE)})
    return shares[WARM:]
