"""The curves of a run: one JSON line for each tick, and a table for `dvc plots`."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

from ganpipe.files import replacing
from ganpipe.training.curves import CURVES


class History:
    """history.jsonl: grows while a run goes on, is cut back when it resumes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, images: int, curves: dict[str, float]) -> None:
        """Add one line: images shown, kimg, and the means of the curves (6 digits)."""
        line = {"images": images, "kimg": images / 1000}
        line |= {name: float(f"{value:.6g}") for name, value in curves.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a state that is saved next counts on this line

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; the last one may be torn when the writer was killed."""
        if not self.path.exists():
            return []
        whole = self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in whole]

    def truncate(self, images: int) -> None:
        """Keep the lines up to a number of images shown."""
        kept = [line for line in self.read() if line["images"] <= images]
        with replacing(self.path) as beside:
            beside.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def write_curves(lines: list[dict[str, Any]], path: Path) -> None:
    """The history as a CSV table with one column for each curve."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["kimg", *CURVES], restval="", extrasaction="ignore")
        table.writeheader()
        table.writerows(lines)
