"""The curves of a run: one JSON line for each point, and a table for `dvc plots`.

A line holds what was measured when its images had been shown: the curves at ticks, the quick FID
and the spread at snapshots.
"""

from __future__ import annotations

import csv
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpipe.files import replacing
from ganpipe.training.curves import CURVES

Line = dict[str, Any]
QUICK_FID = "fid_quick"  # how the names of the snapshots' distances begin
SPREAD = "spread"  # of the snapshot's samples, as a share of the real images'
END = "end"  # why a run ended before train.kimg, in words


class History:
    """history.jsonl: grows while a run goes on, is cut back when it resumes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = self.read()

    def append(self, images: int, values: dict[str, float | str], *, write: bool = True) -> None:
        """Add one line: images shown, kimg, and the values (6 digits)."""
        line: Line = {"images": images, "kimg": images / 1000}
        line |= {name: _rounded(value) for name, value in values.items()}
        self.lines.append(line)
        if not write:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a state that is saved next counts on this line

    def read(self) -> list[Line]:
        """All whole lines; the last one may be torn when the writer was killed."""
        if not self.path.exists():
            return []
        whole = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in whole]

    def truncate(self, images: int, *, write: bool = True) -> None:
        """Keep the lines up to a number of images shown."""
        self.lines = [line for line in self.lines if line["images"] <= images]
        if write:
            text = "".join(json.dumps(line) + "\n" for line in self.lines)
            with replacing(self.path) as beside:
                beside.write_text(text, encoding="utf-8")


def _rounded(value: float | str) -> float | str:
    return value if isinstance(value, str) else float(f"{value:.6g}")


@dataclass(frozen=True)
class Best:
    """The snapshot with the lowest quick FID, the earliest of equals."""

    images: int
    fid: float


def quick_fid(line: Line) -> float | None:
    """The quick FID in a line, or None where none was measured."""
    return next((value for name, value in line.items() if name.startswith(QUICK_FID)), None)


def best(lines: list[Line]) -> Best | None:
    """The best snapshot, or None where no snapshot has a finite distance."""
    measured = [
        Best(line["images"], fid)
        for line in lines
        if (fid := quick_fid(line)) is not None and math.isfinite(fid)
    ]
    return min(measured, key=lambda each: (each.fid, each.images), default=None)


def write_curves(lines: list[Line], path: Path) -> None:
    """The history as a CSV table with one column for each curve."""
    columns = ["kimg", *CURVES, "lr", QUICK_FID, SPREAD]
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, restval="", extrasaction="ignore")
        table.writeheader()
        # its full name tells the protocol, but a plot needs one that does not change
        points = [line for line in lines if END not in line]
        table.writerows({**line, QUICK_FID: quick_fid(line)} for line in points)
