"""Images per second of ganpipe's step against the same training written the usual ways."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from ganpipe.data.dataset import Dataset
from ganpipe.networks import NetworkConfig
from ganpipe.params import TrainParams
from ganpipe.training.batches import Batches
from ganpipe.training.trainer import Networks, Trainer
from tests.benchmarks.figures import Figure, rate, ratio
from tests.benchmarks.training.place import Place
from tests.benchmarks.training.plain import Plain, endless, loader, write_pngs

WARM = 8  # steps before each block: the loader's workers fall asleep while others are timed
CONFIGS = ("dcgan", "resnet", "r3gan-tiny")
PROMISED = "dcgan"  # the defaults
FLOORS = {"plain float32 NCHW": 1.5, "script": 2.0}


def measure(place: Place) -> list[Figure]:
    """Blocks of steps of each variant in turns; the ratios are those of neighbours."""
    dataset = place.fashion()
    pngs = place.folder / "pngs"
    count = place.size(len(dataset), 1000)
    if pngs.exists() and sum(1 for _ in (pngs / "all").iterdir()) != count:
        shutil.rmtree(pngs)
    if not pngs.exists():
        write_pngs(dataset, pngs, count)
    names = place.configs or CONFIGS
    return [figure for name in names for figure in _compare(place, name, dataset, pngs)]


def _compare(place: Place, name: str, dataset: Dataset, pngs: Path) -> list[Figure]:
    """One configuration's rates and ratios."""
    model, train = place.settings(name)
    config = NetworkConfig.of(model, dataset.height, dataset.width, dataset.channels)
    rounds, steps = place.size(8, 2), place.size(30, 2)
    trainer = Trainer(Networks.fresh(config, train), train)
    batches = Batches(dataset, train.seed, train.batch, config.latent, train.device)
    script, real = Plain(config, train), endless(loader(pngs, train.batch))
    variants: dict[str, Callable[[], object]] = {
        "ganpipe": lambda: trainer.step(*batches.at(trainer.images)),
        "plain float32 NCHW": _plain(config, train, dataset),
        "script": lambda: script.usual_step(next(real)),
    }
    with closing(batches):
        seconds = _in_turns(rounds, steps, variants)
    figures = [rate(f"{name}: {kind}", train.batch * steps, each) for kind, each in seconds.items()]
    for kind, floor in FLOORS.items():
        label = f"{name}: ganpipe v {kind}"
        promise = floor if name == PROMISED else None
        figures.append(ratio(label, seconds[kind], seconds["ganpipe"], promise))
    return figures


def _plain(config: NetworkConfig, train: TrainParams, dataset: Dataset) -> Callable[[], None]:
    """A step with batches out of memory, as torch gives them."""
    plain = Plain(config, train)
    pixels = torch.from_numpy(dataset.batch(np.arange(len(dataset)))).permute(0, 3, 1, 2)

    def step() -> None:
        numbers = torch.randint(len(pixels), (train.batch,))
        real = pixels[numbers].float().contiguous() / 127.5 - 1.0
        plain.step(real, torch.randn(train.batch, config.latent))

    return step


def _in_turns(
    rounds: int, steps: int, variants: dict[str, Callable[[], object]]
) -> dict[str, list[float]]:
    """Seconds of each variant's blocks; the first round warms everything up."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(1 + rounds):
        for name, step in variants.items():
            for _ in range(min(WARM, steps)):
                step()
            began = perf_counter()
            for _ in range(steps):
                step()
            seconds[name].append(perf_counter() - began)
    return {name: taken[1:] for name, taken in seconds.items()}
