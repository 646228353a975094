"""How fast a run is and how much memory it takes: speed.jsonl, which DVC does not hash."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ganpipe.events import SPEED

# what getrusage counts memory in
_KILOBYTES = 1 / 1024 if sys.platform == "darwin" else 1


class Clock:
    """Notes images per second of training, and the memory that was taken at most."""

    def __init__(self, folder: Path, images: int = 0) -> None:
        self.path = folder / SPEED
        self.images, self.time = images, time.perf_counter()

    def drop_torn(self) -> None:
        """Remove what a killed process left of a line: nothing may be written behind it."""
        if self.path.exists():
            content = self.path.read_bytes()
            os.truncate(self.path, content.rfind(b"\n") + 1)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside is no training."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.time += time.perf_counter() - began

    def lap(self, images: int) -> str:
        """Note the time since the last lap; returns it in words."""
        now = time.perf_counter()
        rate = (images - self.images) / max(now - self.time, 1e-9)
        self.images, self.time = images, now
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILOBYTES / 1024
        line = {
            "images": images,
            "images_per_second": round(rate, 1),
            "peak_memory_mb": round(megabytes),
        }
        if torch.cuda.is_available():  # not run here
            line["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return f"{rate:.0f} images/s, {megabytes / 1024:.1f} GB"
