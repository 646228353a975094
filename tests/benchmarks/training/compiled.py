"""Whether torch.compile of the generator pays on this machine.

Only the generator: torch.compile cannot differentiate twice, which the penalties need of the
discriminator.
"""

from __future__ import annotations

from contextlib import closing
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from ganpipe.networks import NetworkConfig
from ganpipe.params import TrainParams
from ganpipe.training.batches import Batches
from ganpipe.training.trainer import Networks, Trainer, compiled
from tests.benchmarks.figures import Figure, rate, ratio
from tests.benchmarks.training.place import Place

CONFIGS = ("dcgan", "resnet", "r3gan-tiny")


def measure(place: Place) -> list[Figure]:
    """Blocks of steps, eager and compiled in turns, and how far the images differ at first."""
    dataset = place.fashion()
    rounds, steps = place.size(6, 2), place.size(20, 2)
    figures = []
    for name in place.configs or CONFIGS[: place.size(len(CONFIGS), 1)]:
        model, train = place.settings(name)
        config = NetworkConfig.of(model, dataset.height, dataset.width, dataset.channels)
        batches = Batches(dataset, train.seed, train.batch, model.latent, train.device)
        trainers = {
            kind: _trainer(config, train.model_copy(update={"compile": kind == "compiled"}))
            for kind in ("eager", "compiled")
        }
        with closing(batches):
            shown = batches.at(0)
            began = perf_counter()
            trainers["compiled"].step(*shown)
            first = perf_counter() - began
            off = _difference(config, train, shown.latents)
            seconds: dict[str, list[float]] = {"eager": [], "compiled": []}
            for _ in range(1 + rounds):
                for kind, trainer in trainers.items():
                    began = perf_counter()
                    for _ in range(steps):
                        trainer.step(*batches.at(trainer.images))
                    seconds[kind].append(perf_counter() - began)
        seconds = {kind: taken[1:] for kind, taken in seconds.items()}
        figures += [
            *(rate(f"{name}: {k}", steps * train.batch, taken) for k, taken in seconds.items()),
            ratio(f"{name}: compiled v eager", seconds["eager"], seconds["compiled"]),
            Figure(f"{name}: first step with compilation", first, "s"),
            Figure(f"{name}: largest difference of a pixel", off.max().item(), "of 2"),
            Figure(f"{name}: median difference of a pixel", median(off.flatten().tolist()), "of 2"),
        ]
    return figures


def _trainer(config: NetworkConfig, train: TrainParams) -> Trainer:
    return Trainer(Networks.fresh(config, train), train)


def _difference(config: NetworkConfig, train: TrainParams, latents: Tensor) -> Tensor:
    """Of each value of the images, eager from compiled, as a step of training computes them."""
    generator = Networks.fresh(config, train).generator
    with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bf16"):
        made: list[Tensor] = [call(latents, None) for call in (generator, compiled(generator))]
    return (made[0] - made[1]).detach().float().abs()
