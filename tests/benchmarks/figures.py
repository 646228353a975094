"""What a benchmark finds, how it is timed, and how it is shown."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number. It is to be at least `floor` and at most `ceiling`, where those are given."""

    name: str
    value: float
    unit: str = ""
    floor: float | None = None
    ceiling: float | None = None
    samples: list[float] = field(default_factory=list)
    """What the value is the median of, or was computed from."""

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where there is none."""
        if self.floor is None and self.ceiling is None:
            return None
        low, high = self.floor, self.ceiling
        return (low is None or self.value >= low) and (high is None or self.value <= high)


@dataclass
class Place:
    """Where a benchmark works, and how large it is."""

    folder: Path
    """Removed at the end."""
    quick: bool
    processes: int

    def size(self, full: int, quick: int) -> int:
        """How many images: `full` is what the figures stand for, `quick` only proves the code."""
        return quick if self.quick else full


def interleaved(
    repetitions: int, works: Mapping[str, Callable[[], object]]
) -> dict[str, list[float]]:
    """Seconds of each work, one after the other, several times: a busy spell hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repetitions):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(name: str, above: list[float], below: list[float], floor: float | None = None) -> Figure:
    """Median of the ratios of what was measured side by side."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    return Figure(name, statistics.median(ratios), "x", floor, samples=ratios)


def rate(name: str, images: int, seconds: list[float]) -> Figure:
    """Median of images/s."""
    rates = [images / each for each in seconds]
    return Figure(name, statistics.median(rates), "images/s", samples=rates)


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    from PIL import features

    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("model name")[2]
    return {
        "cpu": cpu.partition("\n")[0].strip(" \t:"),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "libjpeg_turbo": features.version("libjpeg_turbo"),
        "versions": {name: version(name) for name in ("pillow", "numpy", "pandas", "torch", "dvc")},
    }


def as_json(part: str, figures: Iterable[Figure], *, judged: bool) -> list[dict[str, Any]]:
    """Rows for the file of results; `judged` is whether the sizes are those of the promises."""
    return [
        {"part": part, **asdict(figure), "kept": figure.kept if judged else None}
        for figure in figures
    ]


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "figure", "value", "promise", "kept")
    for row in rows:
        bounds = ((">=", row["floor"]), ("<=", row["ceiling"]))
        promise = " ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)
        kept = {None: "", True: "yes", False: "NO"}[row["kept"]]
        value = f"{row['value']:,.3g}" if abs(row["value"]) < 100 else f"{row['value']:,.0f}"
        table.add_row(row["part"], row["name"], f"{value} {row['unit']}", promise, kept)
    width = None if Console().is_terminal else 120
    Console(width=width).print(table)


@contextmanager
def silence() -> Iterator[None]:
    """Nothing on stdout: a stage's progress lines would drown the table."""
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()):
        yield
