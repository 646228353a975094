"""What is known of the real images: features and statistics on disk, and their protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ganpipe.errors import GanpipeError
from ganpipe.evaluation import features as stored
from ganpipe.evaluation.distances import Moments
from ganpipe.evaluation.extractors import Extractor, make_extractor
from ganpipe.evaluation.features import Features
from ganpipe.files import read_json
from ganpipe.params import EvaluateParams

# what training measures its snapshots by: a folder of its own, since nothing else here should
# train anything anew
STATISTICS = "statistics"
MOMENTS, NETWORK, CLASSIFIER = "moments.safetensors", "network.json", "classifier"
DESCRIPTION, ARRAYS, REALS = "reference.json", "reference.safetensors", "reals.png"
QUERIES = 5_000  # images of a kind whose nearest training images are looked for
TRAIN, TEST = "train.npy", "test.npy"
UNSEEN, JUDGE = "unseen.safetensors", "usefulness"
MEMORISATION, USEFULNESS = "memorisation", "usefulness"
NEVER = "evaluate.usefulness=never"
ROUNDS = 40


@dataclass(frozen=True)
class Statistics:
    """Moments of real images' features, and which network they come from."""

    moments: Moments
    network: dict[str, Any]
    """Keys of a protocol: extractor, extractor_version, weights_sha256, precision, reals."""


@dataclass(frozen=True)
class Reference:
    """Feature statistics of real images, and the protocol that they were made by."""

    folder: Path
    moments: Moments
    protocol: dict[str, Any]
    floors: dict[str, float]
    """Measures of these real images against as many other real ones, by their names."""
    class_floors: dict[str, float]
    """The distance within each class, by the class's name; empty where it is not known."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why the real images cannot tell MEMORISATION or USEFULNESS; without those that they can."""

    @property
    def features(self) -> Features:
        """Of the real images that were compared, float32 [n, d], mapped into memory."""
        return stored.read(self.folder / TRAIN)

    @property
    def test_features(self) -> Features:
        """Of images that no generator was trained on: float32 [m, d]."""
        return stored.read(self.folder / TEST)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Which training images `features` are of: int64 [n]."""
        return self._array("numbers")

    @property
    def test_numbers(self) -> NDArray[np.int64]:
        """Which test images `test_features` are of: int64 [m]."""
        return self._array("test_numbers")

    @property
    def neighbours(self) -> NDArray[np.float64]:
        """Distances of the compared real images to their nearest others, as comparisons want them;
        empty where there were too few."""
        return self._array("neighbours")

    def _array(self, name: str) -> NDArray[Any]:
        return load_file(self.folder / ARRAYS)[name]


def read_reference(folder: Path) -> Reference:
    """Read what make_reference wrote. Raises GanpipeError when it is of another ganpipe."""
    description = read_json(folder / DESCRIPTION)
    if "left_out" not in description:
        raise GanpipeError(f"{folder} was made by another ganpipe: run the stage reference")
    moments = read_statistics(folder / STATISTICS).moments
    told = (description[part] for part in ("protocol", "floors", "class_floors", "left_out"))
    return Reference(folder, moments, *told)


def read_statistics(folder: Path) -> Statistics:
    """What make_reference wrote into its folder STATISTICS."""
    try:
        network = read_json(folder / NETWORK)
    except FileNotFoundError:
        raise GanpipeError(
            f"{folder} was made by another ganpipe: run the stage reference"
        ) from None
    arrays = load_file(folder / MOMENTS)
    moments = Moments(len(arrays["mean"]))
    moments.mean, moments.scatter, moments.count = (
        arrays["mean"],
        arrays["scatter"],
        network["reals"],
    )
    return Statistics(moments, network)


def extractor_for(params: EvaluateParams, reference: Path) -> Extractor:
    """The feature network that the parameters name; `classifier` lies with the reference."""
    own = Path(params.weights) if params.weights else None
    weights = reference / STATISTICS / CLASSIFIER if params.extractor == "classifier" else own
    return make_extractor(params.extractor, params.precision, weights)


def lessons(images: int, most: int) -> int:
    """Images shown to a classifier that learns from `images` different ones: few images need no
    more than some rounds of them."""
    return min(most, ROUNDS * images)
