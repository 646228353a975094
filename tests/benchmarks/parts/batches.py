"""Batches out of shards: against torchvision's way, and as a share of a training step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchvision import transforms

from ganpipe import images, randomness
from ganpipe.compute import resolve_train, settle
from ganpipe.data.dataset import Dataset
from ganpipe.networks import NetworkConfig
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training.batches import Batches
from ganpipe.training.trainer import Networks, Trainer
from tests.benchmarks.alone import alone
from tests.benchmarks.figures import Figure, Place, interleaved, rate, ratio
from tests.benchmarks.photographs import write_photographs

T = TypeVar("T")
Loader = torch.utils.data.DataLoader[tuple[Tensor, Tensor]]
SIDE = 64
REPETITIONS = 5
WORKERS = 2
EPOCHS = 10  # of ours for each of the others: one takes a tenth of a second


def measure(place: Place) -> list[Figure]:
    """Shards of 64x64 images, against files of the same images at 64x64, and as they came."""
    count = place.size(20_000, 500)
    dataset = _dataset(place, count)
    small, original = place.folder / "small", place.folder / "original"
    _write_pngs(dataset, small / "all")
    (original / "all").mkdir(parents=True)
    for path in (place.folder / "photographs").iterdir():
        path.rename(original / "all" / path.name)
    train = resolve_train(TrainParams())
    batches = len(dataset) // train.batch
    shown = batches * train.batch
    resize = transforms.Resize(SIDE, transforms.InterpolationMode.LANCZOS)
    resized = transforms.Compose([resize, transforms.CenterCrop(SIDE), transforms.PILToTensor()])
    loaders = {
        "PNG of 64x64, uint8": _loader(small, transforms.PILToTensor(), train.batch, shown),
        "PNG of 64x64, float": _loader(small, transforms.ToTensor(), train.batch, shown),
        "JPEG of 178x218, uint8": _loader(original, resized, train.batch, shown),
    }
    epochs: dict[str, Callable[[], None]] = {
        "uint8": partial(_epochs_of_shards, dataset, train, EPOCHS * batches),
        "float": partial(_epochs_of_shards, dataset, train, EPOCHS * batches, scaled=True),
    }
    for name, loader in loaders.items():
        epochs[name] = partial(_epoch_of_loader, loader)
    seconds = interleaved(1 + place.size(REPETITIONS, 1), epochs)
    # the first round starts workers and fills the page cache
    ours = {
        kind: [taken / EPOCHS for taken in seconds.pop(kind)[1:]] for kind in ("uint8", "float")
    }
    figures = [rate(f"batches from shards, {kind}", shown, each) for kind, each in ours.items()]
    for name, (_, *taken) in seconds.items():
        kind = name.rpartition(" ")[2]
        floor = 20.0 if name == "PNG of 64x64, uint8" else None
        figures += [
            rate(f"ImageFolder + DataLoader, {WORKERS} workers, {name}", shown, taken),
            ratio(f"shards v ImageFolder, {name}", taken, ours[kind], floor),
        ]
    batch, step = _batch_and_step(dataset, train, place.size(30, 1))
    share = [a / b for a, b in zip(batch, step, strict=True)]
    return [
        *figures,
        Figure("batch with latents", 1000 * median(batch), "ms"),
        Figure("training step, dcgan 64x64", 1000 * median(step), "ms"),
        Figure("batch v training step", median(share), "x", None, 0.02, share),
    ]


def _dataset(place: Place, count: int) -> Dataset:
    source, raw = place.folder / "photographs", place.folder / "raw"
    write_photographs(source, count, place.processes)
    common = {"processes": place.processes, "resolution": SIDE}
    alone("ingest", source=source, output=raw, **common)
    alone("preprocess", source=raw, output=place.folder, **common)
    return Dataset(place.folder / "train")


def _write_pngs(dataset: Dataset, folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(len(dataset)):
        (image,) = dataset.batch(np.array([number]))
        (folder / f"{number:06d}.png").write_bytes(images.png_bytes(image))


def _loader(folder: Path, transform: Callable[[Any], Tensor], batch: int, count: int) -> Loader:
    from torchvision.datasets import ImageFolder

    return torch.utils.data.DataLoader(
        torch.utils.data.Subset(ImageFolder(folder, transform), range(count)),
        batch_size=batch,
        shuffle=True,
        num_workers=WORKERS,
        persistent_workers=True,
    )


def _epoch_of_loader(loader: Loader) -> None:
    # to its end, so that no worker prepares batches that nobody takes while others are timed
    for pixels, _ in loader:
        assert pixels.shape[1:] == (3, SIDE, SIDE)


def _epochs_of_shards(
    dataset: Dataset, train: TrainParams, batches: int, *, scaled: bool = False
) -> None:
    """As training reads them, but without the latents, which the other side has not."""
    for number in range(batches):
        shown = number * train.batch
        order = randomness.draw_order(train.seed, "reals", shown, train.batch, len(dataset))
        pixels = torch.from_numpy(dataset.batch(order)).permute(0, 3, 1, 2)
        if scaled:
            pixels = pixels.float() / 127.5 - 1.0
        assert pixels.shape[1:] == (3, SIDE, SIDE)


def _batch_and_step(
    dataset: Dataset, train: TrainParams, steps: int
) -> tuple[list[float], list[float]]:
    """Seconds of each batch and each step, in turns, after two of each to warm up."""
    settle(train.threads)
    model = ModelParams()
    config = NetworkConfig.of(model, dataset.height, dataset.width, dataset.channels)
    trainer = Trainer(Networks.fresh(config, train), train)
    batches = Batches(dataset, train.seed, train.batch, model.latent, train.device)
    read, stepped = [], []
    for _ in range(2 + steps):
        seconds, shown = _timed(partial(batches.at, trainer.images))
        read.append(seconds)
        seconds, _ = _timed(partial(trainer.step, *shown))
        stepped.append(seconds)
    batches.close()
    return read[2:], stepped[2:]


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    began = perf_counter()
    result = work()
    return perf_counter() - began, result
