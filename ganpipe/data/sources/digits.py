"""scikit-learn's digits: 1,797 real 8x8 scans of handwritten digits, shipped inside the package.

Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository (1998), CC BY 4.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.sources.arrays import ArraySource, Stack


class Digits(ArraySource):
    """Grey images of 8x8 pixels in ten classes, no published split."""

    kind = "digits"
    resolution = 16  # enlarged: at 8x8 even the real scans are hard to read
    layout = "{label}/{index:05d}.png"

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # the scans count 0 to 16 black pixels in each 4x4 block
        self.images = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
        self.labels = bunch.target.astype(np.int64)

    @cached_property
    def stacks(self) -> Sequence[Stack]:
        labels = [str(label) for label in self.labels]
        return [Stack("", "", self._digest(), self.images[0].nbytes, labels, self._images)]

    def fingerprint(self) -> dict[str, Any]:
        return {
            "source": self.kind,
            "count": len(self.images),
            "bytes": self.images.nbytes,
            "digest": self._digest(),
        }

    def _digest(self) -> str:
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()

    def _images(self, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        yield from (self.images[index] for index in indices)
