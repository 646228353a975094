"""What bfloat16 does to Lite0's features and distances, with real weights on Fashion-MNIST.

Both sides of a distance are in the same precision, as they are in a run. Beside samples of a
generator that was trained for a minute, real images rebuilt from a few principal components: faint
shades where real ones are black show the error at its largest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.distances import frechet_distance, moments_of
from ganpipe.evaluation.extractors.lite0 import Lite0
from ganpipe.networks import load_generator, sample
from ganpipe.randomness import permutation
from tests.benchmarks.figures import Figure
from tests.benchmarks.training.place import Place
from tests.benchmarks.training.watched import Moments, watched

CEILING = 1.5  # per cent
COMPONENTS, KIMG, SEED = 40, 120.0, 1
COUNTS, QUICK = (2000, 5000), (20, 40)
Features = dict[str, NDArray[np.float32]]


def measure(place: Place) -> list[Figure]:
    """Distances at each count in both precisions, of real and of rebuilt images to real ones."""
    counts = QUICK if place.quick else COUNTS
    most = counts[-1]
    fashion = place.fashion()
    # they lie there by class, and each set must hold all of them
    mixed = permutation(SEED, "error", 0, len(fashion))
    drawn = fashion.batch(mixed[: 2 * most])
    sets = {
        "real": drawn[:most],
        "other real": drawn[most:],
        "generated": _generated(place, most),
        "rebuilt": _rebuilt(drawn)[most:],
    }
    exact, fast = (
        {name: Lite0(precision)(images) for name, images in sets.items()}
        for precision in ("float32", "bf16")
    )
    figures = []
    for count in counts:
        for name in list(sets)[1:]:
            slow, quick = (_distance(features, name, count) for features in (exact, fast))
            label = f"{count:,} {name} images"
            figures += [
                Figure(f"{label}: distance, float32", slow),
                Figure(f"{label}: distance, bf16", quick),
                Figure(f"{label}: difference", 100 * abs(quick / slow - 1), "%", None, CEILING),
            ]
    for name in sets:
        error = np.linalg.norm(fast[name] - exact[name]) / np.linalg.norm(exact[name])
        figures.append(Figure(f"{name} images: features", 100 * float(error), "%"))
    return figures


def _distance(features: Features, name: str, count: int) -> float:
    return frechet_distance(
        moments_of(features["real"][:count]), moments_of(features[name][:count])
    )


def _generated(place: Place, count: int) -> NDArray[np.uint8]:
    """Samples of a DCGAN early in training, which is kept."""
    model, train = place.settings("dcgan", kimg=0.6 if place.quick else KIMG)
    folder = place.run("error", "dcgan", model, train)
    kept, why = watched(place.fashion(), model, train, folder, Moments())
    if why:
        raise RuntimeError(f"dcgan: {why}")
    return sample(load_generator(kept[-1].folder), count, SEED)


def _rebuilt(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images from their first principal components."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=0)
    _, vectors = np.linalg.eigh((flat - mean).T @ (flat - mean))
    kept = vectors[:, -COMPONENTS:]
    rebuilt = mean + (flat - mean) @ kept @ kept.T
    return np.asarray(rebuilt.round().clip(0, 255), np.uint8).reshape(images.shape)
