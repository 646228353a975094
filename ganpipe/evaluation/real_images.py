"""Reference: take the features of real images, and compare them with other real ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ganpipe import images, randomness
from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation import features as stored
from ganpipe.evaluation.classifier import SHOWN, save_classifier, train_classifier
from ganpipe.evaluation.comparison import Comparison, Real, compare, numbers_of, real_side
from ganpipe.evaluation.extractors import Extractor
from ganpipe.evaluation.features import Features
from ganpipe.evaluation.naming import metric_name
from ganpipe.evaluation.reference import (
    ARRAYS,
    CLASSIFIER,
    DESCRIPTION,
    MOMENTS,
    NETWORK,
    QUERIES,
    REALS,
    STATISTICS,
    TEST,
    TRAIN,
    extractor_for,
    lessons,
)
from ganpipe.evaluation.standards import write_standards
from ganpipe.events import Progress, progress
from ganpipe.files import replacing_folder, write_json
from ganpipe.params import EvaluateParams

MOST_SAMPLES = 10_000
GRID = 64
BLOCK = 256
OTHERS = "others.npy"
VERSION = 1  # raised whenever a measure changes for the same features and images


def make_reference(train: Dataset, test: Dataset, params: EvaluateParams, output: Path) -> None:
    """Write data/reference: everything about real images that models are held against.

    That is features, statistics, floors, a grid of real images, how unseen images lie beside
    training images, and a classifier that learnt from real images.

    The floors compare `samples` training images with as many other real images, taken from what
    remains of the training split and then from the test split. Raises GanpipeError when there
    are too few, or no classes for a classifier.
    """
    samples = _count(params.samples, len(train), len(test))
    order = randomness.permutation(params.seed, "reference", 0, len(train))
    chosen, rest = np.sort(order[:samples]), order[samples:]
    unseen = randomness.permutation(params.seed, "unseen", 0, len(test))
    unseen = np.sort(unseen[: min(params.neighbours, QUERIES)])
    with replacing_folder(output) as folder:
        (folder / STATISTICS).mkdir()
        extractor = _extractor(train, params, folder)
        others = min(samples, len(rest))
        fill = randomness.permutation(params.seed, "floor", 0, len(test))[: samples - others]
        parts = [(train, chosen), (test, unseen), (train, rest[:others]), (test, fill)]
        total = sum(len(numbers) for _, numbers in parts)
        with progress("reference", "features of real images", total) as bar:
            digest = _write(folder / TRAIN, extractor, *parts[0], bar)
            _write(folder / TEST, extractor, *parts[1], bar)
            _write(folder / OTHERS, extractor, train, rest[:others], bar, test, fill)
        protocol = _protocol(params, extractor, samples, (train, test), digest)
        real = real_side(
            stored.read(folder / TRAIN),
            params.neighbours,
            params.seed,
            None if train.labels is None else train.labels[chosen],
            train.classes,
        )
        floor = _floor(real, stored.read(folder / OTHERS), train, test, rest[:others], fill)
        (folder / OTHERS).unlink()
        kept = np.empty((0, 0)) if real.neighbours is None else real.neighbours
        arrays = {"neighbours": kept, "numbers": chosen, "test_numbers": unseen}
        save_file(arrays, folder / ARRAYS)
        _write_statistics(folder / STATISTICS, real, protocol)
        images.write_png(folder / REALS, images.grid(train.batch(order[:GRID])))
        floors = numbers_of(floor, extractor.name, samples)
        known = [] if isinstance(floor.classes, str) else floor.classes
        classes = {each.name: each.distance for each in known}
        about = {"protocol": protocol, "floors": floors, "class_floors": classes}
        about["left_out"] = write_standards(train, test, unseen, samples, params, folder)
        write_json(folder / DESCRIPTION, about)


def _extractor(train: Dataset, params: EvaluateParams, folder: Path) -> Extractor:
    """The feature network; `classifier` is trained on the data set's own classes first."""
    if params.extractor != "classifier":
        return extractor_for(params, folder)
    if train.labels is None:
        raise GanpipeError(
            "evaluate.extractor=classifier learns the data set's classes, and it has none: "
            "set data.labels, or evaluate.extractor=lite0"
        )
    place = folder / STATISTICS / CLASSIFIER
    place.mkdir()
    shown = lessons(len(train), SHOWN)
    with progress("reference", "training the classifier", shown) as bar:
        trained = train_classifier(
            train.batch,
            train.labels,
            train.classes,
            seed=params.seed,
            shown=shown,
            advance=bar.advance,
        )
    save_classifier(place, trained)
    return extractor_for(params, folder)


def _write_statistics(folder: Path, real: Real, protocol: dict[str, Any]) -> None:
    save_file({"mean": real.moments.mean, "scatter": real.moments.scatter}, folder / MOMENTS)
    keys = ("extractor", "extractor_version", "weights_sha256", "precision", "reals")
    write_json(folder / NETWORK, {key: protocol[key] for key in keys})


def _floor(
    real: Real,
    others: Features,
    train: Dataset,
    test: Dataset,
    rest: NDArray[np.int64],
    fill: NDArray[np.int64],
) -> Comparison:
    labels = None
    if train.labels is not None and test.labels is not None:
        labels = np.concatenate([train.labels[np.sort(rest)], test.labels[np.sort(fill)]])
    return compare(real, others, labels, stage="reference", sure=False)


def _protocol(
    params: EvaluateParams,
    extractor: Extractor,
    samples: int,
    sides: tuple[Dataset, Dataset],
    pixels: str,
) -> dict[str, Any]:
    train, test = sides
    return {
        "metric": metric_name(extractor.name, samples),
        "extractor": extractor.name,
        "extractor_version": extractor.version,
        "weights_sha256": extractor.weights_sha256,
        "resize": extractor.resize,
        "precision": params.precision,
        "samples": samples,
        "reals": samples,
        "pairs": min(samples, params.neighbours),
        "split": "train",
        "seed": params.seed,
        "measures_version": VERSION,
        "dataset_sha256": train.sha256,
        "test_sha256": test.sha256,
        "reference_sha256": pixels,
    }


def _count(asked: int, train: int, test: int) -> int:
    """How many images stand on each side of the comparison."""
    possible = (train + test) // 2
    samples = asked or min(MOST_SAMPLES, possible, train)
    if min(possible, train) < 2:
        raise GanpipeError(
            f"an evaluation needs at least 2 training images and as many other real ones, but "
            f"there are {train} for training and {test} for testing: bring more images"
        )
    if samples < 2 or samples > min(possible, train):
        raise GanpipeError(
            f"evaluate.samples={samples} needs {samples} training images and as many other real "
            f"ones for the floor, but there are {train} for training and {test} for testing: "
            f"set evaluate.samples to 2 ... {min(possible, train)}, or 0 for as many as possible"
        )
    return samples


def _write(
    path: Path,
    extractor: Extractor,
    dataset: Dataset,
    numbers: NDArray[np.int64],
    bar: Progress,
    more: Dataset | None = None,
    more_numbers: NDArray[np.int64] | None = None,
) -> str:
    """Write the features of some images, of a second data set after those of the first.

    Returns the sha256 of their pixels: which images these were.
    """
    sets = [(dataset, np.sort(numbers))]
    if more is not None and more_numbers is not None:
        sets.append((more, np.sort(more_numbers)))
    pixels = hashlib.sha256()
    count = sum(len(some) for _, some in sets)
    with stored.writing(path, count, extractor.features) as file:
        for part in _blocks(sets):
            pixels.update(part.tobytes())
            file.add(extractor(part))
            bar.advance(len(part))
    return pixels.hexdigest()


def _blocks(sets: list[tuple[Dataset, NDArray[np.int64]]]) -> Iterator[NDArray[np.uint8]]:
    for dataset, numbers in sets:
        for first in range(0, len(numbers), BLOCK):
            yield dataset.batch(numbers[first : first + BLOCK])
