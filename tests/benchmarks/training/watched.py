"""ganpipe's real loop, watched: its generators at given moments, and a clock of training alone.

The run keeps its exact state in a folder and goes on from there when it was stopped, clock
included. What happens at a moment (saving a generator, looking at it) is not on the clock; the
loop's own snapshots are switched off.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing_folder, write_json
from ganpipe.networks import Generator, save_generator
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training.batches import Batch, Batches
from ganpipe.training.loop import Run, check
from ganpipe.training.schedules import passed
from tests.benchmarks.figures import silence

NEVER = 1e6  # kimg
WHEN = "when.json"


@dataclass(frozen=True)
class Moments:
    """When a generator is kept: after minutes of training, or thousand images."""

    minutes: tuple[float, ...] = ()
    kimg: tuple[float, ...] = ()


@dataclass(frozen=True)
class Kept:
    """A generator on disk, and when it was."""

    folder: Path
    kimg: float
    minutes: float
    """Of training."""


class _EnoughError(Exception):
    """The last moment is over."""


class Watch:
    """A run's batches; between two steps it reads the clock."""

    def __init__(self, batches: Batches, moments: Moments, folder: Path) -> None:
        self.batches, self.moments, self.folder = batches, moments, folder
        self.keep: Callable[[Path], None] = lambda _: None
        self.seconds = 0.0
        self._clock = folder / "clock.jsonl"
        self._before: tuple[int, float] | None = None  # images shown, seconds then
        self._resumed: float | None = None

    def at(self, shown: int) -> Batch:
        """The next batch; keeps the generator when a moment has come."""
        if self._resumed is None:
            self.seconds = self._read_clock(shown)
        else:
            self.seconds += perf_counter() - self._resumed
        self._look(shown)
        self._before = (shown, self.seconds)
        self._resumed = perf_counter()
        return self.batches.at(shown)

    def close(self) -> None:
        self.batches.close()

    def end(self, shown: int) -> None:
        """The run has ended by itself."""
        if self._resumed is not None:
            self.seconds += perf_counter() - self._resumed
        self._save(shown)

    def _look(self, shown: int) -> None:
        if self._before is None:
            return
        images, seconds = self._before
        if passed(images, shown, 1.0):
            self._note(shown)
        minutes = [at for at in self.moments.minutes if seconds < 60 * at <= self.seconds]
        kimg = [at for at in self.moments.kimg if images < 1000 * at <= shown]
        if minutes or kimg:
            self._save(shown)
        last = self.moments.minutes and self.seconds >= 60 * max(self.moments.minutes)
        if last:
            raise _EnoughError

    def _note(self, shown: int) -> None:
        with self._clock.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"images": shown, "seconds": self.seconds}) + "\n")

    def _read_clock(self, shown: int) -> float:
        """The clock when so many images had been shown."""
        if not self._clock.exists():
            return 0.0
        lines = self._clock.read_text(encoding="utf-8").split("\n")[:-1]
        known = [(line["images"], line["seconds"]) for line in map(json.loads, lines)]
        return max((seconds for images, seconds in known if images <= shown), default=0.0)

    def _save(self, shown: int) -> None:
        with replacing_folder(self.folder / f"at-{shown:012d}") as folder:
            self.keep(folder)
            write_json(folder / WHEN, {"kimg": shown / 1000, "minutes": self.seconds / 60})


def watched(
    dataset: Dataset, model: ModelParams, train: TrainParams, folder: Path, moments: Moments
) -> tuple[list[Kept], str]:
    """Train until the last moment or train.kimg, or go on with a run that was stopped.

    Returns the generators that were kept, in order, and why the run broke off ("" when it did
    not): a GAN that diverges is a result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    finished = folder / "finished.json"
    if not finished.exists():
        write_json(finished, {"why": _train(dataset, model, train, folder, moments)})
    why: str = read_json(finished)["why"]
    return _kept(folder), why


def _train(
    dataset: Dataset, model: ModelParams, train: TrainParams, folder: Path, moments: Moments
) -> str:
    train = train.model_copy(update={"snapshot_kimg": NEVER, "snapshot_samples": 0})
    run = Run(dataset, check(dataset, model, train), train, folder / "run")
    watch = Watch(run.batches, moments, folder)
    counts = np.bincount(run.labels).tolist() if run.labels is not None else []

    def keep(place: Path) -> None:
        average, classes = run.trainer.networks.average, dataset.classes if counts else []
        save_generator(place, Generator(average, run.config, classes, run.trainer.images, counts))

    watch.keep = keep
    run.batches = watch  # type: ignore[assignment]
    try:
        with silence():
            run.to_the_end()
    except _EnoughError:
        return ""
    except GanpipeError as error:
        return str(error)
    watch.end(run.trainer.images)
    return ""


def _kept(folder: Path) -> list[Kept]:
    places = sorted(folder.glob("at-*"))
    return [Kept(place, **read_json(place / WHEN)) for place in places]
