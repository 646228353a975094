"""Snapshots: the generator of a moment, looked at and measured while training goes on."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe import images, randomness
from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import Moments, frechet_distance
from ganpipe.evaluation.extractors import make_extractor
from ganpipe.evaluation.made import blocks
from ganpipe.evaluation.naming import base, metric_name
from ganpipe.evaluation.reference import CLASSIFIER, read_statistics
from ganpipe.networks import Generator, sample
from ganpipe.networks.generator import GRID_PURPOSE
from ganpipe.params import TrainParams
from ganpipe.training.history import QUICK_FID, SPREAD

GRID = 64
REALS = 1024  # real images whose spread stands for all
BLOCK = 64  # samples between two looks whether the run shall stop
PURPOSE = "snapshot"  # other latents than the reported evaluation's: the choice must not flatter it


class Snapshots:
    """What is seen and measured of the generator every train.snapshot_kimg."""

    def __init__(
        self,
        dataset: Dataset,
        params: TrainParams,
        grids: Path,
        reference: Path | None,
        weights: Path | None = None,
    ) -> None:
        """Without a reference, or with train.snapshot_samples=0, no distance is measured."""
        self.params, self.grids = params, grids
        self.quick = None
        if reference is not None and params.snapshot_samples:
            self.quick = QuickFid(reference, params, weights)
        count = len(dataset)
        chosen = randomness.permutation(params.seed, "spread", 0, count)[:REALS]
        self.real_variance = variance(dataset.batch(np.sort(chosen)))

    def grid(self, generator: Generator) -> NDArray[np.uint8]:
        """Write the grid of samples for fixed latents; returns them uint8 [GRID, H, W, C]."""
        made = sample(generator, GRID, self.params.seed, purpose=GRID_PURPOSE)
        images.write_png(self.grids / grid_name(generator.images), images.grid(made))
        return made

    def take(self, generator: Generator, stopped: Callable[[], bool]) -> dict[str, float] | None:
        """Grid, spread and quick FID; None when asked to stop before all was measured.

        A distance that is not finite (samples that are all alike) is left out.
        """
        found = {}
        made = self.grid(generator)
        if self.real_variance > 0.0:
            found[SPREAD] = variance(made) / self.real_variance
        if self.quick is not None:
            distance = self.quick.measure(generator, stopped)
            if distance is None:
                return None
            if math.isfinite(distance):
                found[self.quick.name] = distance
        return found

    def drop_later(self, shown: int) -> None:
        """Remove the grids of a later moment, which is trained anew."""
        for grid in grid_files(self.grids):
            if int(grid.stem.removeprefix("grid-")) > shown:
                grid.unlink()


def grid_name(shown: int) -> str:
    return f"grid-{shown:012d}.png"


def grid_files(folder: Path) -> list[Path]:
    """The grids in a folder, earliest first."""
    return sorted(folder.glob("grid-*.png"))


def variance(pixels: NDArray[np.uint8]) -> float:
    """How much images [n, H, W, C] differ: the variance of each value over them, on average."""
    return float(pixels.astype(np.float64).var(axis=0).mean())


class QuickFid:
    """The Fréchet distance of a few samples to the real images, by their statistics.

    In bf16 where training is, which takes half the time; its name says so. The number is for
    choosing among the snapshots of a run: few samples raise it for all of them alike.
    """

    def __init__(self, reference: Path, params: TrainParams, weights: Path | None = None) -> None:
        """`weights`: of the feature network, where they are neither packaged nor cached."""
        self.params, self.reference = params, read_statistics(reference)
        protocol = self.reference.network
        network = base(protocol["extractor"])
        precision = "bf16" if params.precision == "bf16" else protocol["precision"]
        if network == "classifier":  # small: there is nothing to be saved
            precision, weights = "float32", reference / CLASSIFIER
        self.extractor = make_extractor(network, precision, weights)
        same = self.extractor.name == protocol["extractor"]  # each precision has its own version
        for key in ("extractor_version", "weights_sha256") if same else ("weights_sha256",):
            own = getattr(self.extractor, key.removeprefix("extractor_"))
            if own != protocol[key]:
                raise GanpipeError(
                    f"{reference} was made with {key}={protocol[key]}, this ganpipe has {own}: "
                    "run the stage reference"
                )
        samples = params.snapshot_samples
        name = metric_name(self.extractor.name, samples)
        self.name = f"{QUICK_FID}_{name.partition('_')[2]}"

    def measure(self, generator: Generator, stopped: Callable[[], bool]) -> float | None:
        """The distance, or None when asked to stop before it was known."""
        moments, samples = Moments(self.extractor.features), self.params.snapshot_samples
        for _, made in blocks(generator, samples, self.params.seed, PURPOSE, BLOCK):
            moments.add(self.extractor(made))
            if stopped():
                return None
        return frechet_distance(self.reference.moments, moments)
