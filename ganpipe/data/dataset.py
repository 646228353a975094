"""A data set on disk: uint8 shards that are mapped into memory, no decoding, no workers."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError
from ganpipe.files import read_json

DESCRIPTION = "dataset.json"
LABELS = "labels.npy"
RESIDENT_BYTES = 2**28  # of mapped images that the process holds at most
_FAULT_BYTES = 2**16  # what Linux maps around an address that is touched


class Dataset:
    """Images uint8 [count, height, width, channels] in shards images-00000.npy onwards."""

    def __init__(self, folder: Path | str) -> None:
        """Raises GanpipeError when the folder is no data set or its shards are incomplete."""
        self.folder = Path(folder)
        try:
            description: dict[str, Any] = read_json(self.folder / DESCRIPTION)
        except FileNotFoundError:
            raise GanpipeError(
                f"{self.folder} is no data set (no {DESCRIPTION}): run the stage preprocess first"
            ) from None
        self.height: int = description["height"]
        self.width: int = description["width"]
        self.channels: int = description["channels"]
        self.classes: list[str] = description["classes"]
        self.sha256: str = description["sha256"]
        self._map()
        self.starts = np.cumsum([0, *(len(shard) for shard in self.shards)])
        if len(self) != description["count"]:
            raise GanpipeError(
                f"{self.folder} holds {len(self)} images but its {DESCRIPTION} says "
                f"{description['count']}: run the stage preprocess again"
            )

    def _map(self) -> None:
        _allow_open_files()  # each mapped shard keeps one open
        paths = sorted(self.folder.glob("images-*.npy"))
        # plain arrays: every index into a memmap would make another one
        self.shards = [np.asarray(np.load(path, mmap_mode="r")) for path in paths]
        self._touched = 0

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """Class numbers int64 [count], or None when there are no classes."""
        path = self.folder / LABELS
        labels: NDArray[np.int64] | None = np.load(path) if path.exists() else None
        return labels

    def batch(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images with these numbers, in this order: uint8 [n, height, width, channels]."""
        if self._touched > RESIDENT_BYTES:
            self._map()  # lets go of the pages: what memory holds of the files stays cached
        images = self._gathered(numbers)
        self._touched += images.nbytes + len(numbers) * _FAULT_BYTES
        return images

    def _gathered(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        if len(self.shards) == 1:  # one copy less
            return self.shards[0][numbers]
        images = np.empty((len(numbers), self.height, self.width, self.channels), np.uint8)
        owners = np.searchsorted(self.starts, numbers, side="right") - 1
        places = numbers - self.starts[owners]
        for row, (owner, place) in enumerate(zip(owners.tolist(), places.tolist(), strict=True)):
            images[row] = self.shards[owner][place]
        return images


def _allow_open_files() -> None:
    """As many open files as the system lets this process have: its usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
