"""Evaluate: sample the generator, measure the samples, make the pictures beside the numbers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ganpipe import images
from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.comparison import Real, compare, numbers_of
from ganpipe.evaluation.copying import Copying, copying
from ganpipe.evaluation.describe import Found, measures, report_of
from ganpipe.evaluation.distances import Moments, frechet_distance
from ganpipe.evaluation.extractors import Extractor
from ganpipe.evaluation.made import BLOCK, PURPOSE, Made, all_alike, blocks, samples_of
from ganpipe.evaluation.reference import (
    JUDGE,
    MEMORISATION,
    NEVER,
    QUERIES,
    REALS,
    UNSEEN,
    USEFULNESS,
    Reference,
    extractor_for,
    lessons,
    read_reference,
)
from ganpipe.evaluation.report import Measure, write_report
from ganpipe.evaluation.results import EVALUATION, FLOOR, METRICS
from ganpipe.evaluation.sides import NO_NUMBER, few
from ganpipe.evaluation.unseen import Images, pixels_of, read_unseen
from ganpipe.evaluation.usefulness import (
    SHOWN,
    Labelled,
    Usefulness,
    hindrance,
    read_judge,
    usefulness,
)
from ganpipe.events import progress
from ganpipe.files import replacing_folder, sha256, write_json
from ganpipe.networks import Generator, load_generator, sample
from ganpipe.networks.generator import GRID_PURPOSE, WEIGHTS
from ganpipe.params import EvaluateParams

SAMPLES = "samples.png"
GRID = 64
WORK = "work"


def evaluate(
    model: Path,
    reference: Path,
    data: tuple[Dataset, Dataset],
    params: EvaluateParams,
    output: Path,
) -> dict[str, Any]:
    """Write report/: metrics.json, evaluation.json with the whole protocol, the page, pictures.

    `data`: training and test images. Returns the metrics with their protocol. Raises
    GanpipeError when the reference was made with other parameters or from other images.
    """
    known, extractor = opened(reference, params)
    train, test = data
    if known.protocol["dataset_sha256"] != train.sha256:
        raise GanpipeError(f"{reference} was made from other images than {train.folder}: run dvc")
    generator = load_generator(model)
    _check_shape(generator, train)
    count: int = known.protocol["samples"]
    with replacing_folder(output) as folder:
        work = folder / WORK
        work.mkdir()
        made = samples_of(generator, extractor, count, params.seed, work)
        real = _real(known, train, params)
        same_classes = generator.classes == train.classes
        comparison = compare(real, made.features, made.labels if same_classes else None)
        copied = _copied(known, train, made, params, work)
        useful = _useful(known, generator, made, test, params)
        found = Found(
            extractor.name,
            count,
            comparison,
            known.floors,
            known.class_floors,
            copied,
            useful,
            known.protocol,
            warnings(count, extractor.features, comparison.distance, made),
        )
        numbers = numbers_of(comparison, extractor.name, count)
        rows = measures(found, numbers)
        metrics = {row.name: row.value for row in rows}
        metrics |= {f"{FLOOR}{name}": value for name, value in known.floors.items()}
        if isinstance(useful, Usefulness):
            metrics["accuracy_real_to_real"] = useful.real_to_real
        metrics["images"] = generator.images
        why = comparison.classes if isinstance(comparison.classes, str) else ""
        sides = (train, test)
        told = report_of(
            found, rows, generator, made, sides, (known.numbers, why), params.seed, model
        )
        write_json(folder / METRICS, metrics)
        about: dict[str, Any] = {"title": told.title, "generator_sha256": sha256(model / WEIGHTS)}
        about["lineage"] = told.lineage
        write_json(folder / EVALUATION, about | _evaluation(found, rows))
        write_report(told, folder)
        grid = images.grid(sample(generator, GRID, params.seed, purpose=GRID_PURPOSE))
        images.write_png(folder / SAMPLES, grid)
        shutil.copyfile(reference / REALS, folder / REALS)
        shutil.rmtree(work)
    return metrics | {"protocol": known.protocol}


def _check_shape(generator: Generator, train: Dataset) -> None:
    config = generator.config
    made = (config.image_height, config.image_width, config.image_channels)
    real = (train.height, train.width, train.channels)
    if made != real:
        raise GanpipeError(
            f"the generator makes images of shape {made} (height, width, channels), those of "
            f"{train.folder} have {real}: train it on these first"
        )


def _real(known: Reference, train: Dataset, params: EvaluateParams) -> Real:
    kept, labels = known.neighbours, train.labels
    return Real(
        known.moments,
        known.features,
        kept if len(kept) else None,
        params.neighbours,
        params.seed,
        None if labels is None else labels[known.numbers],
        train.classes,
    )


def opened(reference: Path, params: EvaluateParams) -> tuple[Reference, Extractor]:
    """The reference, and the feature network that it was made by.

    Raises GanpipeError when that is not the one that the parameters name.
    """
    known = read_reference(reference)
    extractor = extractor_for(params, reference)
    protocol = known.protocol
    asked = {
        "extractor": extractor.name,
        "extractor_version": extractor.version,
        "weights_sha256": extractor.weights_sha256,
        "samples": params.samples or protocol["samples"],
        "pairs": min(protocol["samples"], params.neighbours),
        "seed": params.seed,
    }
    other = [f"{key}={protocol[key]}" for key, value in asked.items() if protocol[key] != value]
    if params.usefulness != "never" and known.left_out.get(USEFULNESS) == NEVER:
        other.append(NEVER)
    if other:
        raise GanpipeError(
            f"{reference} was made with {', '.join(other)}, evaluate asks for other values: "
            f"run the stage reference"
        )
    return known, extractor


def distance(generator: Generator, known: Reference, extractor: Extractor, seed: int) -> float:
    """The headline alone, in memory that does not grow with the number of samples."""
    moments, count = Moments(extractor.features), known.protocol["samples"]
    with progress("evaluate", "features of generated images", count) as bar:
        for _, made in blocks(generator, count, seed, PURPOSE, BLOCK):
            moments.add(extractor(made))
            bar.advance(len(made))
    return frechet_distance(known.moments, moments)


def warnings(count: int, features: int, distance: float, made: Made) -> list[str]:
    """What should keep people from reading too much into a distance."""
    told = few(count, features)
    if all_alike(made.images[first : first + BLOCK] for first in range(0, count, BLOCK)):
        told.append("the generated images are all alike, so their spread is nought")
    return told if np.isfinite(distance) else [*told, NO_NUMBER]


def _copied(
    known: Reference, train: Dataset, made: Made, params: EvaluateParams, work: Path
) -> Copying | str:
    if why := known.left_out.get(MEMORISATION):
        return why
    most = min(params.neighbours, QUERIES)
    real = Images(train.batch, np.arange(len(train)))
    return copying(
        read_unseen(known.folder / UNSEEN),
        Images(made.images.__getitem__, np.arange(len(made.images))[:most]),
        (known.features, made.features[:most]),
        pixels_of(real, work / "pixels-train.npy"),
        folder=work,
    )


def _useful(
    known: Reference, generator: Generator, made: Made, test: Dataset, params: EvaluateParams
) -> Usefulness | str:
    if params.usefulness == "never":
        return NEVER
    if made.labels is None:
        return "the generator knows no classes"
    if why := known.left_out.get(USEFULNESS):
        return why
    judge = read_judge(known.folder / JUDGE)
    if generator.classes != judge.classifier.classes or test.labels is None:
        return "the generator was trained on other classes"
    sides = {"generated": made.labels}
    if why := hindrance(sides, generator.classes, (test.height, test.width)):
        return why
    count = judge.classifier.record["images"]
    shown = lessons(count, SHOWN)
    total = shown + len(test) + count
    with progress("evaluate", "classifier on samples", total) as bar:
        return usefulness(
            Labelled(made.images.__getitem__, made.labels),
            Labelled(test.batch, test.labels),
            judge,
            seed=params.seed,
            shown=shown,
            advance=bar.advance,
        )


def _evaluation(found: Found, rows: list[Measure]) -> dict[str, Any]:
    """Everything but the pictures, for programs: with it the page's table can be made again."""
    comparison = found.comparison
    line = comparison.extrapolation
    useful, copied = found.usefulness, found.copying
    return {
        "protocol": found.protocol,
        "measures": [vars(row) for row in rows],
        "warnings": list(found.warnings),
        "kernel": None if comparison.kernel is None else vars(comparison.kernel),
        "extrapolation": line if isinstance(line, str) else vars(line),
        "classes": comparison.classes
        if isinstance(comparison.classes, str)
        else [vars(each) for each in comparison.classes],
        "usefulness": useful if isinstance(useful, str) else vars(useful),
        "memorisation": copied
        if isinstance(copied, str)
        else {
            **copied.verdict._asdict(),
            "opening": copied.verdict.opening,
            "numbers": copied.numbers,
        },
    }
