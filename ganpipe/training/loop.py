"""The run around the algorithm: batches in, curves, grids and exact state out."""

from __future__ import annotations

import hashlib
import json
import math
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from filelock import FileLock, Timeout

from ganpipe import images
from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.events import emit, progress
from ganpipe.files import replacing_folder
from ganpipe.networks import Generator, NetworkConfig, sample, save_generator
from ganpipe.networks.generator import GRID_PURPOSE
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training import augment, state
from ganpipe.training.batches import Batches
from ganpipe.training.history import History, write_curves
from ganpipe.training.schedules import passed
from ganpipe.training.trainer import Networks, Trainer

GRID = 64
# the code that a state depends on: what dvc.yaml lists for the stage
_CODE = (
    "networks",
    "training",
    "compute.py",
    "data/dataset.py",
    "images.py",
    "randomness.py",
)


class Interrupted(SystemExit):
    """The run was asked to stop (SIGTERM); its state is saved."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def run_training(
    dataset: Dataset,
    model: ModelParams,
    train: TrainParams,
    outputs: dict[str, Path],
    scratch_root: Path,
) -> None:
    """Train from the start, or from the exact state of an interrupted run with the same inputs.

    Writes outputs["model"] (generator, curves, grids) and outputs["checkpoints"] (full state).
    Raises GanpipeError when the data are too few or training diverges, Interrupted on SIGTERM.
    """
    config = check(dataset, model, train)
    scratch = scratch_root / scratch_key(dataset, model, train)
    scratch_root.mkdir(parents=True, exist_ok=True)
    with _alone(scratch) as waited:
        done = scratch / "done"
        if done.exists() and not waited:
            # DVC asks anew for what was delivered before: train it anew, from nothing
            shutil.rmtree(scratch)
        run = Run(dataset, config, train, scratch)
        run.to_the_end()
        run.write_outputs(outputs)
        done.touch()
        state.drop_older(run.states, kept=1)


@contextmanager
def _alone(scratch: Path) -> Iterator[bool]:
    """Hold a scratch folder; tells whether another run with the same inputs held it before.

    The second waits, then takes the finished state of the first.
    """
    lock = FileLock(scratch.with_name(f"{scratch.name}.lock"))
    waited = False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waited = True
        print("train: another run with the same inputs is training; waiting for it", flush=True)
        lock.acquire()
    try:
        yield waited
    finally:
        lock.release()


def check(dataset: Dataset, model: ModelParams, train: TrainParams) -> NetworkConfig:
    """The networks for a data set. Raises GanpipeError when these cannot be trained on it."""
    if len(dataset) < train.batch:
        raise GanpipeError(
            f"train.batch={train.batch} is more than the {len(dataset)} training images: "
            f"set train.batch to {len(dataset)} or less"
        )
    if model.conditional and not dataset.classes:
        raise GanpipeError(
            "model.conditional=true, but the training images have no classes: put them into "
            "sub-folders named after their classes, or set model.conditional=false"
        )
    shape = (dataset.height, dataset.width, dataset.channels)
    return NetworkConfig.of(model, *shape, len(dataset.classes))


def scratch_key(dataset: Dataset, model: ModelParams, train: TrainParams) -> str:
    """A name for everything that decides the bytes of a run: a state is never another run's."""
    package = Path(__file__).resolve().parents[1]
    code = hashlib.sha256()
    for part in _CODE:
        path = package / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            code.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
    inputs = {
        "dataset": dataset.sha256,
        "model": model.model_dump(),
        "train": train.model_dump(),
        "code": code.hexdigest(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"train-{digest[:24]}"


class Run:
    """One run in its scratch folder."""

    def __init__(
        self, dataset: Dataset, config: NetworkConfig, params: TrainParams, scratch: Path
    ) -> None:
        self.dataset, self.config, self.params, self.scratch = dataset, config, params, scratch
        self.labels = dataset.labels if config.classes else None
        scratch.mkdir(parents=True, exist_ok=True)
        self.trainer = Trainer(Networks.fresh(config, params), params)
        shown = (params.seed, params.batch, config.latent, params.device)
        draws = augment.DRAWS if params.gp > 0.0 or params.augment != "none" else 0
        self.batches = Batches(dataset, *shown, labels=self.labels, draws=draws)
        self.history = History(scratch / "history.jsonl")
        self.states = scratch / "states"
        self.grids = scratch / "grids"
        self.total = math.ceil(params.kimg * 1000)

    def to_the_end(self) -> None:
        """Go on from the newest whole state and leave a state at the end."""
        saved = state.find(self.states)
        if saved is not None:
            state.restore(self.trainer, saved)
            print(f"train: resumed from the state at {saved.images / 1000:g} kimg", flush=True)
        self._truncate()
        emit("train", "history", path=str(self.history.path.resolve()))
        if saved is None:
            self._grid()
        with (
            stop_signal() as stop,
            progress("train", "training", self.params.kimg, "kimg") as bar,
            closing(self.batches),
        ):
            clock = Clock(self.trainer.images)
            while self.trainer.images < self.total:
                before = self.trainer.images
                self.trainer.step(*self.batches.at(before))
                self._after_step(before)
                if passed(before, self.trainer.images, self.params.tick_kimg):
                    bar.update(self.trainer.images / 1000, self._tick(clock))
                if stop.requested:
                    state.save(self.trainer, self.states)
                    kimg = self.trainer.images / 1000
                    print(f"train: stopped; state saved at {kimg:g} kimg", flush=True)
                    raise Interrupted

    def _after_step(self, before: int) -> None:
        now, params = self.trainer.images, self.params
        last = now >= self.total
        if passed(before, now, params.tick_kimg) or last:
            curves = self.trainer.means.take()
            self._check(curves)
            self.history.append(now, curves)
        if passed(before, now, params.snapshot_kimg) or last:
            self._grid()
        if passed(before, now, params.state_kimg) or last:
            self._check({})
            state.save(self.trainer, self.states)

    def _check(self, curves: dict[str, float]) -> None:
        """Stop with a diagnosis when a curve or a weight is not finite, before it is saved."""
        wrong = [f"{name}={value}" for name, value in curves.items() if not math.isfinite(value)]
        if not wrong and state.all_finite(self.trainer):
            return
        saved = state.find(self.states)
        raise GanpipeError(
            f"training diverged at {self.trainer.images / 1000:g} kimg: "
            f"{', '.join(wrong) or 'a weight'} not finite "
            f"(last good state: {f'{saved.images / 1000:g} kimg' if saved else 'none'}). "
            f"Try a lower train.lr (now {self.params.lr:g}), higher train.r1 and train.r2 "
            f"(now {self.params.r1:g}, {self.params.r2:g}), or train.precision=float32"
        )

    def _generator(self) -> Generator:
        """The moving average as it stands."""
        average, images = self.trainer.networks.average, self.trainer.images
        if self.labels is None:
            return Generator(average, self.config, [], images)
        counts = np.bincount(self.labels, minlength=self.config.classes).tolist()
        return Generator(average, self.config, self.dataset.classes, images, counts)

    def _grid(self) -> None:
        """A grid of the average's samples for fixed latents, numbered by the images shown."""
        made = sample(self._generator(), GRID, self.params.seed, purpose=GRID_PURPOSE)
        name = f"grid-{self.trainer.images:012d}.png"
        images.write_png(self.grids / name, images.grid(made))

    def _tick(self, clock: Clock) -> str:
        """Note the speed beside the run, where DVC does not hash it; returns it in words."""
        rate, megabytes = clock.lap(self.trainer.images)
        line = {
            "images": self.trainer.images,
            "images_per_second": round(rate, 1),
            "peak_memory_mb": round(megabytes),
        }
        with (self.scratch / "speed.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return f"{rate:.0f} images/s"

    def _truncate(self) -> None:
        """Drop curves and grids that an interrupted run made after its last whole state."""
        self.history.truncate(self.trainer.images)
        for grid in self.grids.glob("grid-*.png"):
            if int(grid.stem.removeprefix("grid-")) > self.trainer.images:
                grid.unlink()

    def write_outputs(self, outputs: dict[str, Path]) -> None:
        """The generator with its curves and grids, and the full state that belongs to it."""
        with replacing_folder(outputs["model"]) as folder:
            save_generator(folder, self._generator())
            shutil.copyfile(self.history.path, folder / "history.jsonl")
            write_curves(self.history.read(), folder / "curves.csv")
            shutil.copytree(self.grids, folder / "grids")
        with replacing_folder(outputs["checkpoints"]) as folder:
            state.export(self.states, folder)


class Clock:
    """Images per second between laps, and the memory that the process took at most."""

    def __init__(self, images: int) -> None:
        self.images, self.time = images, time.perf_counter()

    def lap(self, images: int) -> tuple[float, float]:
        now = time.perf_counter()
        rate = (images - self.images) / max(now - self.time, 1e-9)
        self.images, self.time = images, now
        return rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Stop:
    """Whether a signal asked the run to stop."""

    requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True


@contextmanager
def stop_signal() -> Iterator[Stop]:
    """Turn SIGTERM into a wish that the loop grants between two steps."""
    stop = Stop()
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
