"""Stacked Fashion-MNIST: how many of 1,000 combinations of three classes a generator makes.

Three grey images as the channels of one, as stacked MNIST (Metz et al., "Unrolled generative
adversarial networks", ICLR 2017): 1,000 modes, of which each channel's class is told by a
classifier that was trained on the real images. The cells are those of table 1 of Huang et al.,
"The GAN is dead; long live the GAN!" (NeurIPS 2024), on a small residual network without
normalisation, and the penalty of every 8th step beside them. A run that diverges is a result.
Counted over 26,000 samples, the number that most papers use (Lin et al., "PacGAN", NeurIPS 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ganpipe import randomness
from ganpipe.data.dataset import DESCRIPTION, Dataset
from ganpipe.files import read_json, replacing_folder, write_json
from ganpipe.networks import load_generator, sample
from tests.benchmarks.figures import Figure
from tests.benchmarks.training.classifier import accuracy, classes_of, trained
from tests.benchmarks.training.configs import PLAIN
from tests.benchmarks.training.place import Place, settings
from tests.benchmarks.training.watched import Kept, Moments, watched

COMBINATIONS = 1000
SAMPLES = 26_000
TRIPLES = 60_000
KIMG = 350.0  # of each cell: eight minutes at 700 images/s

SMALL = PLAIN.but(model__architecture="resnet", model__width=16, model__max_width=64)
# learning rate and penalties as in the paper's appendix D for stacked MNIST, at their start
PAPER = SMALL.but(train__lr=2e-4, train__r1=1.0, train__r2=1.0)
CELLS = {
    "rpgan, R1 + R2": PAPER,
    "ns, R1 + R2": PAPER.but(train__loss="ns"),
    "rpgan, R1": PAPER.but(train__r2=0),
    "ns, R1": PAPER.but(train__loss="ns", train__r2=0),
    "rpgan, R1 + R2 every 8th step": PAPER.but(train__penalty_every=8),
}


@dataclass(frozen=True)
class Coverage:
    """Modes among a set of samples."""

    found: int
    divergence: float
    """KL(generated || even over the combinations), in nats: the reverse KL of the papers."""


def measure(place: Place) -> list[Figure]:
    """Modes and reverse KL of each cell after the same images, and on the way there."""
    classifier = trained(
        place.fashion(), place.below("stacked") / "classifier.safetensors", place.size(0, 20)
    )
    dataset = stacked(place.fashion(), place.below("stacked") / "data", place.size(TRIPLES, 500))
    real = dataset.batch(np.arange(min(place.size(SAMPLES, 500), len(dataset))))
    floor = coverage(classifier, real)
    figures = [
        Figure("classifier, test images", 100 * accuracy(classifier, place.fashion("test")), "%"),
        Figure("real: modes found", floor.found, f"of {COMBINATIONS}"),
        Figure("real: reverse KL", floor.divergence, "nats"),
    ]
    kimg = place.kimg or place.size(int(KIMG), 1)
    moments = Moments(kimg=tuple(kimg * part for part in (0.125, 0.25, 0.5)))
    for cell, config in CELLS.items():
        model, train = settings(config, place.threads, kimg=kimg)
        name = cell.replace(",", "").replace(" + ", "-").replace(" ", "-").lower()
        folder = place.run("stacked", name, model, train)
        kept, why = watched(dataset, model, train, folder, moments)
        figures += _figures(place, cell, kept, why, classifier)
    return figures


def _figures(
    place: Place, cell: str, kept: list[Kept], why: str, classifier: nn.Module
) -> list[Figure]:
    figures = []
    counted = [_counted(place, one, classifier) for one in kept]
    for one, found in zip(kept, counted, strict=True):
        print(
            f"stacked: {cell}: {one.kimg:g} kimg, {one.minutes:.1f} min: "
            f"{found.found} modes, reverse KL {found.divergence:.3f}",
            flush=True,
        )
    if kept:
        figures += [
            Figure(f"{cell}: modes found", counted[-1].found, f"of {COMBINATIONS}",
                   samples=[float(found.found) for found in counted]),
            Figure(f"{cell}: reverse KL", counted[-1].divergence, "nats",
                   samples=[found.divergence for found in counted]),
            Figure(f"{cell}: images shown", kept[-1].kimg, "kimg"),
            Figure(f"{cell}: training", kept[-1].minutes, "minutes"),
        ]  # fmt: skip
    if why:
        print(f"stacked: {cell}: broke off: {why}", flush=True)
        figures.append(Figure(f"{cell}: diverged", 1.0))
    return figures


def _counted(place: Place, kept: Kept, classifier: nn.Module) -> Coverage:
    """Modes of a generator on disk, counted once."""
    path = kept.folder / "modes.json"
    if not path.exists():
        made = sample(load_generator(kept.folder), place.size(SAMPLES, 500), 1, purpose="counted")
        found = coverage(classifier, made)
        write_json(path, {"found": found.found, "divergence": found.divergence})
    return Coverage(**read_json(path))


def coverage(classifier: nn.Module, pixels: NDArray[np.uint8]) -> Coverage:
    """Modes among images uint8 [n, 28, 28, 3]."""
    hundreds, tens, ones = (
        classes_of(classifier, pixels[..., channel, None]) for channel in range(3)
    )
    counts = np.bincount(100 * hundreds + 10 * tens + ones, minlength=COMBINATIONS)
    shares = counts[counts > 0] / len(pixels)
    divergence = float((shares * np.log(shares)).sum()) + math.log(COMBINATIONS)
    return Coverage(int((counts > 0).sum()), divergence)


def stacked(grey: Dataset, folder: Path, count: int) -> Dataset:
    """A data set of triples of grey images, each channel drawn for itself; made once."""
    if not folder.exists():
        orders = [
            randomness.draw_order(0, f"stacked/{channel}", 0, count, len(grey))
            for channel in range(3)
        ]
        pixels = np.concatenate([grey.batch(order) for order in orders], axis=-1)
        with replacing_folder(folder) as beside:
            np.save(beside / "images-00000.npy", pixels)
            shape = dict(zip(("count", "height", "width", "channels"), pixels.shape, strict=True))
            about = {"classes": [], "sha256": f"{count} triples of {grey.sha256}"}
            write_json(beside / DESCRIPTION, shape | about)
    return Dataset(folder)
