"""What tests of whole runs share: a small data set, small networks, distances told in advance."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ganpipe.data.dataset import Dataset
from ganpipe.files import write_json
from ganpipe.networks import Generator
from ganpipe.params import ModelParams, TrainParams

MODEL = ModelParams(width=8, max_width=16, latent=8)
TRAIN = TrainParams(
    kimg=0.6,
    batch=20,
    tick_kimg=0.1,
    snapshot_kimg=0.1,
    state_kimg=0.1,
    snapshot_samples=8,
    penalty_every=3,
    threads=1,
    device="cpu",
    precision="float32",
)

# what a stage process does, with nothing of DVC or Prefect around it
PROGRAM = """
import json, sys
from pathlib import Path
from ganpipe.compute import settle
from ganpipe.data.dataset import Dataset
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training.loop import run_training
model, train = ModelParams(**json.loads(sys.argv[1])), TrainParams(**json.loads(sys.argv[2]))
root, data = Path(sys.argv[3]), Path(sys.argv[4])
settle(train.threads)
outputs = {"model": root / "model", "checkpoints": root / "checkpoints"}
reference = data.parent / "reference" / "statistics"
run_training(Dataset(data), model, train, outputs, root / "scratch", reference=reference)
"""


def start(root: Path, dataset: Path, train: TrainParams) -> subprocess.Popen[bytes]:
    """A process that trains in `root`; the folder `reference` lies beside the data set's."""
    arguments = [MODEL.model_dump_json(), train.model_dump_json(), str(root), str(dataset)]
    root.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], cwd=root)


def delivered(root: Path) -> dict[str, bytes]:
    """The files that a run has left as outputs."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("model", "checkpoints")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def make_dataset(folder: Path, count: int = 60) -> Dataset:
    """Random images 16x16 RGB."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    np.save(folder / "images-00000.npy", pixels)
    described = {"height": 16, "width": 16, "channels": 3, "classes": [], "count": count}
    write_json(folder / "dataset.json", {**described, "sha256": "0" * 64})
    return Dataset(folder)


class Told:
    """A quick FID whose values are known beforehand; None is a wish to stop meanwhile."""

    name = "fid_quick_told"

    def __init__(self, *distances: float | None) -> None:
        self._distances: Iterator[float | None] = iter(distances)

    def measure(self, generator: Generator, stopped: Callable[[], bool]) -> float | None:
        del generator, stopped
        return next(self._distances)
