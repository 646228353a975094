"""Which samples are dropped: near duplicates of kept ones, and copies of training images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.examine import Limits, examine
from ganpipe.generation.copies import Copies, training_set
from ganpipe.generation.request import Request
from ganpipe.images import png_bytes

NEAR, COPY = "near-duplicates", "memorised"
ONLY = Limits(max_pixels=2**31, perceptual=True)


class NearDuplicates:
    """Kept samples by their perceptual hashes, which the ingest of ganpipe too goes by.

    A sample repeats an earlier kept one when its hash is within `distance` bits of that of one of
    the same class.
    """

    def __init__(self, distance: int, most: int) -> None:
        self.distance, self.count = distance, 0
        self.hashes = np.empty(most, dtype=np.uint64)
        self.labels = np.empty(most, dtype=np.int64)

    def keep(self, hashes: Sequence[int], labels: Sequence[int]) -> None:
        """Count samples as kept."""
        end = self.count + len(hashes)
        self.hashes[self.count : end] = np.array(hashes, dtype=np.uint64)
        self.labels[self.count : end] = labels
        self.count = end

    def repeats(self, found: int, label: int) -> bool:
        """Whether a sample with this hash and class repeats a kept one."""
        apart = np.bitwise_count(self.hashes[: self.count] ^ np.uint64(found))
        same = self.labels[: self.count] == label
        return bool((same & (apart <= self.distance)).any())


def hashes_of(images: NDArray[np.uint8]) -> list[int]:
    """Perceptual hashes of images uint8 [n, H, W, C]: 64 bits each."""
    return [int(examine(png_bytes(image), ONLY).perceptual_hash, 16) for image in images]


class Drops:
    """What the request's filter drops, counted by reason."""

    def __init__(self, request: Request, repo: Path) -> None:
        self.scratch = TemporaryDirectory(prefix="ganpipe-")
        self.near = self.copies = None
        if request.params.finds_near:
            self.near = NearDuplicates(request.params.near_distance, request.params.n)
        if request.params.finds_copies:
            learnt_from = training_set(request, repo)
            print(
                f"every sample is held against the training images in {learnt_from}: some hundred "
                "a second at best",
                flush=True,
            )
            self.copies = Copies(learnt_from, Path(self.scratch.name))
        self.counts: Counter[str] = Counter()

    @property
    def identity(self) -> dict[str, Any]:
        """What is compared with; empty without a comparison."""
        return {} if self.copies is None else {"against": self.copies.identity}

    def judge(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64] | None
    ) -> tuple[list[bool], list[int]]:
        """Which samples of a round are dropped, and the hashes of those that are kept."""
        dropped = [False] * len(images)
        if self.copies is not None:
            dropped = self.copies.among(images).tolist()
            self.counts[COPY] += sum(dropped)
        if self.near is None:
            return dropped, []
        kept = []
        classes = [-1] * len(images) if labels is None else labels.tolist()
        for number, (found, label) in enumerate(zip(hashes_of(images), classes, strict=True)):
            if dropped[number]:
                continue
            if self.near.repeats(found, label):
                dropped[number] = True
                self.counts[NEAR] += 1
            else:
                self.near.keep([found], [label])
                kept.append(found)
        return dropped, kept

    def go_on(self, note: dict[str, Any]) -> None:
        """Take up what a note on a finished part says."""
        self.counts = Counter(note["dropped"])
        if self.near is not None:
            self.near.keep(note["hashes"], note["labels"] or [-1] * len(note["hashes"]))

    def close(self) -> None:
        self.scratch.cleanup()
