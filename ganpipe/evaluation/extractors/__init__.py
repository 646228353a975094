"""Feature networks: uint8 images in, float32 features out; one file each."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ganpipe.params import EvaluateParams


class Extractor(Protocol):
    """A fixed feature network and the rule by which images reach it."""

    name: str
    """Part of the metric's name: `lite0`, or `lite0bf16` for the fast mode."""
    version: int
    """Raised whenever its features change for the same image and weights."""
    weights_sha256: str
    resize: str
    features: int
    """Numbers in a feature vector."""

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features float32 [n, features] of images uint8 [n, H, W, C], C = 1 or 3."""
        ...


def make_extractor(params: EvaluateParams) -> Extractor:
    """The extractor that the parameters name. Raises GanpipeError when its weights are missing."""
    from ganpipe.evaluation.extractors.lite0 import Lite0

    return Lite0(precision=params.precision)
