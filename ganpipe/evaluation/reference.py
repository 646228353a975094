"""Statistics of the real images: what generated ones are measured against."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ganpipe import images, randomness
from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import Moments, frechet_distance
from ganpipe.evaluation.extractors import Extractor, make_extractor
from ganpipe.events import Progress, progress
from ganpipe.files import read_json, replacing_folder, write_json
from ganpipe.params import EvaluateParams

MOST_SAMPLES = 10_000
FEW_SAMPLES = 2_000
DESCRIPTION, STATISTICS, REALS = "reference.json", "reference.safetensors", "reals.png"
GRID = 64


@dataclass(frozen=True)
class Reference:
    """Feature statistics of real images, and the protocol that they were made by."""

    moments: Moments
    protocol: dict[str, Any]
    floor: float
    """Distance between these real images and as many other real ones."""


def metric_name(extractor: str, samples: int) -> str:
    """`fid_lite0_10k`: the measure, the feature network, the number of images on each side."""
    return (
        f"fid_{extractor}_{samples // 1000}k"
        if samples % 1000 == 0
        else (f"fid_{extractor}_{samples}")
    )


def make_reference(train: Dataset, test: Dataset, params: EvaluateParams, output: Path) -> None:
    """Write data/reference: statistics of `samples` training images, floor, a grid of reals.

    The floor compares them with as many other real images, taken from what remains of the
    training split and then from the test split. Raises GanpipeError when there are too few.
    """
    samples = _count(params.samples, len(train), len(test))
    extractor = make_extractor(params)
    order = randomness.permutation(params.seed, "reference", 0, len(train))
    chosen, rest = order[:samples], order[samples:]
    with progress("reference", "features of real images", 2 * samples) as bar:
        reference = Moments(extractor.features)
        pixels = add_images(reference, extractor, train, chosen, bar, 0)
        others = Moments(extractor.features)
        more = rest[:samples]
        add_images(others, extractor, train, more, bar, samples)
        fill = randomness.permutation(params.seed, "floor", 0, len(test))[: samples - len(more)]
        add_images(others, extractor, test, fill, bar, samples + len(more))
    protocol = {
        "metric": metric_name(extractor.name, samples),
        "extractor": extractor.name,
        "extractor_version": extractor.version,
        "weights_sha256": extractor.weights_sha256,
        "resize": extractor.resize,
        "precision": params.precision,
        "samples": samples,
        "reals": samples,
        "split": "train",
        "seed": params.seed,
        "dataset_sha256": train.sha256,
        "reference_sha256": pixels,
    }
    with replacing_folder(output) as folder:
        statistics = {"mean": reference.mean, "scatter": reference.scatter}
        save_file(statistics, folder / STATISTICS)
        images.write_png(folder / REALS, images.grid(train.batch(chosen[:GRID])))
        floor = frechet_distance(reference, others)
        write_json(folder / DESCRIPTION, {"protocol": protocol, "floor": floor})


def _count(asked: int, train: int, test: int) -> int:
    """How many images stand on each side of the comparison."""
    possible = (train + test) // 2
    samples = asked or min(MOST_SAMPLES, possible, train)
    if samples < 2 or samples > min(possible, train):
        raise GanpipeError(
            f"evaluate.samples={samples} needs {samples} training images and as many other real "
            f"ones for the floor, but there are {train} for training and {test} for testing: "
            f"set evaluate.samples to 2 ... {min(possible, train)}, or 0 for as many as possible"
        )
    return samples


def add_images(
    moments: Moments,
    extractor: Extractor,
    dataset: Dataset,
    numbers: NDArray[np.int64],
    bar: Progress,
    done: int,
    block: int = 256,
) -> str:
    """Take the features of some images of a data set into the moments, a block at a time.

    Returns the sha256 of their pixels: which images these were.
    """
    pixels = hashlib.sha256()
    for first in range(0, len(numbers), block):
        part = dataset.batch(np.sort(numbers[first : first + block]))
        pixels.update(part.tobytes())
        moments.add(extractor(part))
        bar.update(done + first + len(part))
    return pixels.hexdigest()


def read_reference(folder: Path) -> Reference:
    """Read what make_reference wrote."""
    description = read_json(folder / DESCRIPTION)
    statistics = load_file(folder / STATISTICS)
    moments = Moments(len(statistics["mean"]))
    moments.mean, moments.scatter = statistics["mean"], statistics["scatter"]
    moments.count = description["protocol"]["reals"]
    return Reference(moments, description["protocol"], description["floor"])
