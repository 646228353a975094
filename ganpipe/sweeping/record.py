"""What came of the trials of a sweep, in a file: a sweep that was killed goes on where it was."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, write_json
from ganpipe.sweeping.points import Point

FOLDER = "sweeps"


@dataclass(frozen=True)
class Trial:
    """What one training tried and came to."""

    number: int
    tried: Point
    value: float | None = None
    """Its distance, lower is better; None where it failed."""
    metric: str = ""
    problem: str = ""
    run: str = ""
    """Its workspace."""
    mlflow_run: str = ""


@dataclass
class Sweep:
    """The trials of a sweep, by their numbers, and its run in MLflow."""

    path: Path
    trials: dict[int, Trial]
    mlflow_run: str = ""
    protocol: dict[str, Any] | None = None
    """Of the first trial: numbers of another one cannot be compared."""

    def add(self, trial: Trial) -> None:
        """Keep what came of a trial, in place of an earlier attempt."""
        self.trials[trial.number] = trial
        self.save()

    def save(self) -> None:
        """Write everything down, whole or not at all."""
        trials = [asdict(self.trials[number]) for number in sorted(self.trials)]
        write_json(
            self.path,
            {"mlflow_run": self.mlflow_run, "protocol": self.protocol, "trials": trials},
        )

    def before(self, number: int) -> list[tuple[Point, float | None]]:
        """What the trials below `number` tried, and their distances."""
        return [(self.trials[each].tried, self.trials[each].value) for each in range(number)]

    def is_done(self, number: int) -> bool:
        """Whether a trial came to a distance; one that failed is tried again another time."""
        return number in self.trials and self.trials[number].value is not None

    @property
    def finished(self) -> list[Trial]:
        """Trials with a distance, the best first."""
        found = [each for each in self.trials.values() if each.value is not None]
        return sorted(found, key=lambda each: (each.value, each.number))

    @property
    def failed(self) -> list[Trial]:
        return [each for each in self.trials.values() if each.value is None]


@contextmanager
def opened(state: Path, digest: str) -> Iterator[Sweep]:
    """The sweep with this digest, as far as it came; nobody else has it meanwhile.

    Raises GanpipeError when somebody has.
    """
    path = state / FOLDER / f"{digest[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # the kernel gives the lock of a killed process up
    with path.with_suffix(".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GanpipeError(
                "this very sweep is under way in another run: let it finish, or cancel it"
            ) from None
        found = read_json(path) if path.is_file() else {"trials": []}
        trials = {each["number"]: Trial(**each) for each in found["trials"]}
        yield Sweep(path, trials, found.get("mlflow_run", ""), found.get("protocol"))
