"""Where the benchmarks of training work, how large they are, and what they train on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganpipe.compute import resolve_train, settle
from ganpipe.data.dataset import Dataset
from ganpipe.data.ingest import ingest
from ganpipe.data.preprocess import preprocess
from ganpipe.data.sources.fashion_mnist import FashionMnist
from ganpipe.evaluation.real_images import make_reference
from ganpipe.files import replacing_folder
from ganpipe.params import (
    ComputeParams,
    DataParams,
    EvaluateParams,
    ModelParams,
    TrainParams,
)
from tests.benchmarks.figures import silence
from tests.benchmarks.training.configs import CONFIGS, Config


@dataclass
class Place:
    """A folder that is kept, so that a benchmark which was stopped goes on where it was."""

    folder: Path
    quick: bool
    """Small sizes: proves the code only."""
    threads: int
    minutes: list[float] = field(default_factory=list)
    """quality: when it is measured, in minutes of training; the last is the end."""
    configs: list[str] = field(default_factory=list)
    """Which of CONFIGS, where a part compares several; none takes the part's own."""
    kimg: float | None = None
    """stacked, bf16: length of each run; None takes the part's own."""
    seeds: int = 0
    """bf16: how many; 0 takes the part's own."""

    def size(self, full: int, quick: int) -> int:
        """`full` is what the figures stand for, `quick` only proves the code."""
        return quick if self.quick else full

    def below(self, name: str) -> Path:
        """A folder for what a part keeps; a quick part keeps things of its own."""
        return self.folder / f"{name}{'-quick' if self.quick else ''}"

    def run(self, part: str, name: str, model: ModelParams, train: TrainParams) -> Path:
        """A folder for a run; with other parameters it is another one. Code is not looked at."""
        chosen = model.model_dump_json() + train.model_dump_json()
        return self.below(part) / f"{name}-{hashlib.sha256(chosen.encode()).hexdigest()[:8]}"

    def settings(self, config: str, **train: Any) -> tuple[ModelParams, TrainParams]:
        """Parameters of a configuration on this machine, with more of section train replaced."""
        return settings(CONFIGS[config], self.threads, **train)

    def fashion(self, split: str = "train") -> Dataset:
        """Fashion-MNIST through ganpipe's own ingest and preprocess, made once."""
        data = self.folder / "fashion-mnist"
        if not data.exists():
            params = DataParams(source="fashion-mnist")
            compute = ComputeParams(processes=self.threads)
            with replacing_folder(data) as folder, silence():
                ingest(FashionMnist(), folder / "raw", params, compute)
                outputs = {side: folder / side for side in ("train", "test")}
                preprocess(folder / "raw", outputs, params, compute)
        return Dataset(data / split)

    def reference(self) -> tuple[Path, EvaluateParams]:
        """Statistics of real images for fid_lite0_10k (`quick`: of 200 images), made once."""
        samples = self.size(10_000, 200)
        params = EvaluateParams(samples=samples, threads=self.threads)
        folder = self.folder / f"reference-{samples}"
        if not folder.exists():
            with silence():
                make_reference(self.fashion(), self.fashion("test"), params, folder)
        return folder, params


def settings(config: Config, threads: int, **train: Any) -> tuple[ModelParams, TrainParams]:
    """Parameters of a configuration on this machine; settles its threads and kernels."""
    params = config.params
    found = resolve_train(params.train.model_copy(update={"threads": threads, **train}))
    settle(found.threads)
    return params.model, found
