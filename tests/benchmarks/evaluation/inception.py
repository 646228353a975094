"""10,000 images of 28x28 against a reference that is known: ganpipe and torch-fidelity.

Features are timed on fewer images, in turns, and stand for 10,000, since both take the same time
for each image; the distance, which does not grow with them, is timed on its own and added.
Images are in memory and a reference costs neither of them anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.utils import extract_featuresdict_from_input_id

from ganpipe.evaluation.distances import Moments, frechet_distance, moments_of
from ganpipe.evaluation.extractors.inception import Inception
from tests.benchmarks.evaluation.made_up import features, inception_weights
from tests.benchmarks.figures import Figure, interleaved, rate, ratio
from tests.benchmarks.training.place import Place

IMAGES = 10_000
FLOOR, AGREE = 2.5, 1e-4
USUAL, SMALL = "torch-fidelity", "torch-fidelity, batch 8"
BATCHES = {USUAL: 64, SMALL: 8}  # its default, and ours, which suits a CPU's caches better


class _Planes(Dataset[Tensor]):
    """What torch-fidelity's own loader makes of files: uint8 [3, H, W]."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Tensor:
        return self.images[number]


def measure(place: Place) -> list[Figure]:
    """Rates, distances, and what both make of 10,000 images."""
    path, published = inception_weights(place.below("weights"))
    ours = {
        f"ganpipe {precision}": Inception("inception", precision, path, published)
        for precision in ("float32", "bf16")
    }
    images = place.fashion().batch(np.arange(place.size(256, 8)))
    theirs = {name: _torch_fidelity(path, batch) for name, batch in BATCHES.items()}
    seconds = _features(ours, theirs, images, place.size(6, 1))
    apart = _distances(place)
    whole = {
        name: [
            IMAGES / len(images) * each + median(apart["ganpipe" if name in ours else USUAL])
            for each in taken
        ]
        for name, taken in seconds.items()
    }
    exact, fast = (extractor(images[:64]) for extractor in ours.values())
    expected = theirs[USUAL](images[:64])
    figures = [rate(f"features: {name}", len(images), each) for name, each in seconds.items()]
    figures += [Figure(f"distance: {name}", median(each), "s") for name, each in apart.items()]
    figures += [Figure(f"{IMAGES:,} images: {name}", median(each), "s", samples=each)
                for name, each in whole.items()]  # fmt: skip
    figures += [
        ratio(f"{IMAGES:,} images: {name} v {other}", whole[other], whole[name], floor)
        for name, other, floor in (
            ("ganpipe bf16", USUAL, FLOOR),
            ("ganpipe bf16", SMALL, None),
            ("ganpipe float32", USUAL, None),
        )
    ]
    largest = np.abs(exact - expected).max() / np.abs(expected).max()
    error = np.linalg.norm(fast - exact) / np.linalg.norm(exact)
    return [
        *figures,
        Figure("float32 v torch-fidelity, of the largest feature", float(largest), "", None, AGREE),
        Figure("bf16 v float32, features (made-up weights)", 100 * float(error), "%"),
    ]


def _features(
    ours: dict[str, Inception],
    theirs: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]],
    images: NDArray[np.uint8],
    rounds: int,
) -> dict[str, list[float]]:
    """Seconds of each for all images; ganpipe's with the moments that it gathers on the way."""

    def gathered(extractor: Inception, moments: Moments) -> None:
        moments.add(extractor(images))

    works: dict[str, Callable[[], object]] = {
        name: partial(gathered, extractor, Moments(extractor.features))
        for name, extractor in ours.items()
    }
    works |= {name: partial(extract, images) for name, extract in theirs.items()}
    interleaved(1, works)
    return interleaved(rounds, works)


def _torch_fidelity(
    weights: Path, batch: int
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Its loop over a data set, in this process: workers would only take the cores from it."""
    network = FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=str(weights)
    )

    def extract(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        options = {"cuda": False, "batch_size": batch, "save_cpu_ram": True, "verbose": False}
        found = extract_featuresdict_from_input_id(1, network, input1=_Planes(images), **options)
        vectors: NDArray[np.float32] = found["2048"].numpy()
        return vectors

    return extract


def _distances(place: Place) -> dict[str, list[float]]:
    """Seconds from the features of 10,000 images, or their moments, to the distance."""
    count, size = place.size(IMAGES, 600), place.size(2048, 256)
    made, real = features(1, count, size, 0.1), features(2, count, size)
    known, found = moments_of(real), moments_of(made)
    statistics = fid_features_to_statistics(torch.from_numpy(real))
    works = {
        "ganpipe": lambda: frechet_distance(known, found),
        USUAL: lambda: fid_statistics_to_metric(
            fid_features_to_statistics(torch.from_numpy(made)), statistics, verbose=False
        ),
    }
    return interleaved(place.size(3, 1), works)
