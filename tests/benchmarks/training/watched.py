"""ganpipe's real loop, watched: its generators at given moments, and a clock of training alone.

The run keeps its exact state in a folder and goes on from there when it was stopped, clock
included. What happens at a moment (saving a generator, looking at it) is not on the clock; the
loop's own snapshots are switched off.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing_folder, write_json
from ganpipe.networks import Generator, save_generator
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training.batches import Batch
from ganpipe.training.loop import Run, check
from ganpipe.training.schedules import passed
from ganpipe.training.stopping import Interrupted
from tests.benchmarks.figures import silence

NEVER = 1e6  # kimg
KEPT, WHEN = "at-", "when.json"


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


class Watch:
    """A run's batches; between two steps it reads the clock."""

    def __init__(self, run: Run, moments: Moments, folder: Path) -> None:
        self.run, self.batches, self.moments, self.folder = run, run.batches, moments, folder
        self.seconds, self.enough = 0.0, False
        self._clock = folder / "clock.jsonl"
        self._before: tuple[int, float] | None = None  # images shown, seconds then
        self._resumed = 0.0

    def at(self, shown: int) -> Batch:
        """The next batch; keeps the generator when a moment has come."""
        if self._before is None:
            self._go_on(shown)
        else:
            self.seconds += perf_counter() - self._resumed
            self._look(shown, *self._before)
        self._before = (shown, self.seconds)
        self._resumed = perf_counter()
        return self.batches.at(shown)

    def close(self) -> None:
        """The run ends or was stopped: its clock belongs to the state that it left."""
        self.batches.close()
        if self._before is not None:
            self.seconds += perf_counter() - self._resumed
            self._note(self.run.trainer.images)

    def save(self) -> None:
        """Keep the generator of this moment."""
        generator, shown = self._generator(), self.run.trainer.images
        if self._before is None:  # the run had ended when it was stopped
            self._go_on(shown)
        with replacing_folder(self.folder / f"{KEPT}{shown:012d}") as folder:
            save_generator(folder, generator)
            write_json(folder / WHEN, {"kimg": shown / 1000, "minutes": self.seconds / 60})

    def _look(self, shown: int, images: int, seconds: float) -> None:
        if passed(images, shown, 1.0):
            self._note(shown)
        minutes = [at for at in self.moments.minutes if seconds < 60 * at <= self.seconds]
        kimg = [at for at in self.moments.kimg if images < 1000 * at <= shown]
        if minutes or kimg:
            self.save()
        if self.moments.minutes and self.seconds >= 60 * max(self.moments.minutes):
            self.enough = self.run.stop.requested = True  # it saves its state and ends

    def _generator(self) -> Generator:
        run = self.run
        average, shown = run.trainer.networks.average, run.trainer.images
        if run.labels is None:
            return Generator(average, run.config, [], shown)
        counts = np.bincount(run.labels, minlength=run.config.classes).tolist()
        return Generator(average, run.config, run.dataset.classes, shown, counts)

    def _note(self, shown: int) -> None:
        with self._clock.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"images": shown, "seconds": self.seconds}) + "\n")

    def _go_on(self, shown: int) -> None:
        """Forget what came after the state that the run goes on from."""
        for place in self.folder.glob(f"{KEPT}*"):
            if int(place.name.removeprefix(KEPT)) > shown:
                shutil.rmtree(place)
        text = self._clock.read_text(encoding="utf-8") if self._clock.exists() else ""
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        lines = [line for line in lines if line["images"] <= shown]
        self.seconds = lines[-1]["seconds"] if lines else 0.0
        kept = "".join(json.dumps(line) + "\n" for line in lines)
        self._clock.write_text(kept, encoding="utf-8")


def watched(
    dataset: Dataset, model: ModelParams, train: TrainParams, folder: Path, moments: Moments
) -> tuple[list[Kept], str]:
    """Train until the last moment or train.kimg, or go on with a run that was stopped.

    Returns the generators that were kept, in order, and why the run broke off ("" when it did
    not): a GAN that diverges is a result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ended, asked = folder / "ended.json", max(moments.minutes, default=math.inf)
    known: dict[str, Any] = read_json(ended) if ended.exists() else {"why": "", "minutes": 0.0}
    # null: at train.kimg or by failing, so that there is no more to come
    if known["minutes"] is not None and known["minutes"] < asked:
        why, enough = _train(dataset, model, train, folder, moments)
        known = {"why": why, "minutes": asked if enough else None}
        write_json(ended, known)
    return _kept(folder), known["why"]


def _train(
    dataset: Dataset, model: ModelParams, train: TrainParams, folder: Path, moments: Moments
) -> tuple[str, bool]:
    """Why the run broke off, and whether it ended because the last moment was over."""
    train = train.model_copy(update={"snapshot_kimg": NEVER, "snapshot_samples": 0})
    run = Run(dataset, check(dataset, model, train), train, folder / "run")
    watch = Watch(run, moments, folder)
    run.batches = watch  # type: ignore[assignment]
    try:
        with silence():
            run.to_the_end()
    except Interrupted:
        if not watch.enough:
            raise
        return "", True
    except GanpipeError as error:
        return str(error), False
    watch.save()
    return "", False


def _kept(folder: Path) -> list[Kept]:
    places = sorted(folder.glob(f"{KEPT}*"))
    return [Kept(place, **read_json(place / WHEN)) for place in places]
