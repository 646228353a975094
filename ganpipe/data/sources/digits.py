"""scikit-learn's digits: 1,797 real 8x8 scans of handwritten digits, shipped inside the package.

Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository (1998), CC BY 4.0.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ganpipe.data.sources.base import Item
from ganpipe.images import png_bytes


class Digits:
    """Grey images of 8x8 pixels in ten classes, no published split."""

    resolution = 16  # enlarged: at 8x8 even the real scans are hard to read

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        # the scans count 0 to 16 black pixels in each 4x4 block
        self.images = np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8)[..., None]
        self.labels = bunch.target.astype(np.int64)
        self.classes = [str(digit) for digit in range(10)]

    def fingerprint(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()
        return {
            "source": "digits",
            "count": len(self),
            "bytes": self.images.nbytes,
            "digest": digest,
        }

    def __iter__(self) -> Iterator[Item]:
        order = sorted(range(len(self)), key=lambda i: (self.labels[i], i))
        for index in order:
            label = self.classes[self.labels[index]]
            yield Item(f"{label}/{index:05d}.png", png_bytes(self.images[index]), label)

    def __len__(self) -> int:
        return len(self.images)
