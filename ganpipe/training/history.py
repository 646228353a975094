"""The curves of a run: one JSON line for each point, and a table for `dvc plots`.

A line holds what was measured when its images had been shown: the curves at ticks, the quick FID
and the spread at snapshots.
"""

from __future__ import annotations

import csv
import json
import math
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
    """The curves so far, and history.jsonl, which others may watch while a run goes on.

    What a run goes on from is the copy that each state has: this file is written, never read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []

    def append(self, images: int, values: dict[str, float | str], *, write: bool = True) -> None:
        """Add one line: images shown, kimg, and the values (6 digits)."""
        line: Line = {"images": images, "kimg": images / 1000}
        line |= {name: _rounded(value) for name, value in values.items()}
        self.lines.append(line)
        if write:
            with self.path.open("ab") as file:
                file.write(_encoded([line]))

    @property
    def content(self) -> bytes:
        """All lines, as the file holds them."""
        return _encoded(self.lines)

    def restore(self, content: bytes, *, write: bool = True) -> None:
        """Become what `content` was, whole lines, whatever the file holds by now."""
        self.lines = [json.loads(line) for line in content.splitlines()]
        if write:
            with replacing(self.path) as beside:
                beside.write_bytes(content)


def _encoded(lines: list[Line]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


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
