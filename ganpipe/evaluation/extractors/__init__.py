"""Feature networks: uint8 images in, float32 features out; one file each."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.extractors.weights import Published, check_file

NAMES = ("lite0", "inception", "inception-clean", "dinov2-b14", "dinov2-l14", "classifier")


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
        """Features float32 [n, features] of images uint8 [n, H, W, C], C = 1 or 3.

        The batch that the network sees is the extractor's own: in float32 it changes no feature
        by more than 1e-5 of the largest. Raises GanpipeError for arrays of another kind, and
        when a feature is not finite.
        """
        ...


def check_options(name: str, precision: str, weights: Path | None) -> None:
    """Tell what make_extractor could not make, before images are read.

    Raises GanpipeError for a name or precision that is none, and weights that are not there.
    """
    if name not in NAMES:
        raise GanpipeError(f"there is no extractor {name}: choose one of {', '.join(NAMES)}")
    if precision not in ("float32", "bf16"):
        raise GanpipeError(f"precision={precision} is none of float32, bf16")
    if name == "lite0" and weights is not None:
        raise GanpipeError(
            f"{weights}: the extractor lite0 brings its weights in a package; leave them out, or "
            f"name another extractor"
        )
    if name == "classifier" and weights is None:
        raise GanpipeError(
            "the extractor classifier needs the folder of a trained one: set evaluate.weights to "
            "the data/reference/statistics/classifier of a run with evaluate.extractor=classifier"
        )
    if weights is not None and (source := published(name)) is not None:
        check_file(source, weights)


def make_extractor(name: str, precision: str = "float32", weights: Path | None = None) -> Extractor:
    """The extractor of that name (see NAMES), its weights found, fetched and checked.

    `precision` is float32 or bf16, a fast mode with a name of its own. `weights` is a file to
    use in place of the cache and the download; for `classifier` the folder that was trained.
    Raises GanpipeError when the weights cannot be had or are not those published.
    """
    check_options(name, precision, weights)
    if name == "lite0":
        from ganpipe.evaluation.extractors.lite0 import Lite0

        return Lite0(precision)
    if name in ("inception", "inception-clean"):
        from ganpipe.evaluation.extractors.inception import Inception

        return Inception(name, precision, path=weights)
    if name in ("dinov2-b14", "dinov2-l14"):
        from ganpipe.evaluation.extractors.dinov2 import DinoV2

        return DinoV2(name, precision, path=weights)
    if weights is not None:
        from ganpipe.evaluation.extractors.classifier import ClassifierExtractor

        if precision != "float32":
            raise GanpipeError(
                f"precision={precision}: the extractor classifier is so small that it has only "
                f"float32"
            )
        return ClassifierExtractor(weights)
    raise AssertionError(name)


def published(name: str) -> Published | None:
    """The weights that an extractor downloads; None for one that needs no download."""
    if name in ("inception", "inception-clean"):
        from ganpipe.evaluation.extractors.inception import PUBLISHED as INCEPTION

        return INCEPTION
    if name in ("dinov2-b14", "dinov2-l14"):
        from ganpipe.evaluation.extractors.dinov2 import PUBLISHED as DINOV2

        return DINOV2[name]
    return None
