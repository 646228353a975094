"""From measures to the report: what is shown of them, and the pictures beside the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.data.dataset import Dataset
from ganpipe.evaluation.comparison import Comparison
from ganpipe.evaluation.copying import Copying
from ganpipe.evaluation.intervals import intervals_of
from ganpipe.evaluation.made import Made
from ganpipe.evaluation.naming import metric_name
from ganpipe.evaluation.report import (
    ClassRow,
    Extremes,
    Measure,
    Memorisation,
    Neighbours,
    Report,
)
from ganpipe.evaluation.report.charts import curves
from ganpipe.evaluation.report.latents import class_samples, interpolations, truncation_sweep
from ganpipe.evaluation.results import HIGHER, MEANS
from ganpipe.evaluation.usefulness import Usefulness
from ganpipe.evaluation.verdict import LIMITS
from ganpipe.networks import Generator, sample
from ganpipe.networks.generator import GRID_PURPOSE

SHOWN, PER_CLASS = 64, 10
STRIPS, PER_STRIP = 16, 5
EXTREMES = 16


@dataclass(frozen=True)
class Found:
    """Everything that was measured of a generator."""

    name: str
    """Of the feature network, as metrics are named by it."""
    samples: int
    comparison: Comparison
    floors: dict[str, float]
    class_floors: dict[str, float]
    copying: Copying | str
    usefulness: Usefulness | str
    protocol: dict[str, Any]
    warnings: Sequence[str]


def measures(found: Found, numbers: dict[str, float]) -> list[Measure]:
    """The numbers with what is needed to judge them, the headline first."""
    headline = metric_name(found.name, found.samples)
    intervals = intervals_of(found.comparison, found.name, found.samples)
    sides = [found.protocol[side] for side in ("samples", "reals")]
    told = f"{found.name}, {' + '.join(_count(side) for side in sides)} images"
    rows = []
    for name, value in numbers.items():
        measure = name.removesuffix(f"_{metric_name(found.name, found.samples).partition('_')[2]}")
        low, high = intervals.get(name, (None, None))
        rows.append(
            Measure(
                name=name,
                value=value,
                better="higher" if measure in HIGHER else "lower",
                means=DISTANCE if name == headline else MEANS.get(measure, ""),
                low=low,
                high=high,
                floor=found.floors.get(name),
                protocol=told,
            )
        )
    return rows + _infinite(found) + _useful(found.usefulness) + _copied(found.copying)


def _count(images: int | str) -> str:
    return images if isinstance(images, str) else f"{images:,}"


DISTANCE = "distance of feature distributions, taken as Gaussians"


def _infinite(found: Found) -> list[Measure]:
    line = found.comparison.extrapolation
    if isinstance(line, str):
        return []
    name = metric_name(found.name, found.samples)
    means = "the same distance, extrapolated to infinitely many samples"
    return [Measure(f"infinite_{name}", line.value, "lower", means)]


def _useful(useful: Usefulness | str) -> list[Measure]:
    if isinstance(useful, str):
        return []
    own = "accuracy on real images of a classifier that learnt from samples"
    reverse = "accuracy on samples of a classifier that learnt from real images"
    real = useful.real_to_real
    return [
        Measure("accuracy_generated_to_real", useful.generated_to_real, "higher", own, floor=real),
        Measure("accuracy_real_to_generated", useful.real_to_generated, "higher", reverse),
    ]


def _copied(copying: Copying | str) -> list[Measure]:
    if isinstance(copying, str):
        return []
    rows = []
    for side in (copying.features, copying.pixels):
        if side is not None:
            alone = f"share of samples that single out one training image, by {side.space}"
            rows.append(
                Measure(f"singled_out_{side.space}", side.singled_out.excess, "lower", alone)
            )
            own = "samples farther from their nearest training image than that from its own, in %"
            authentic, unseen = side.auth_pct, side.auth_pct_test
            rows.append(Measure(f"auth_pct_{side.space}", authentic, "higher", own, floor=unseen))
            means = "C_T: z below 0 where samples lie closer to training images than unseen ones"
            rows.append(Measure(f"c_t_{side.space}", side.c_t, "neither", means))
    return rows


def report_of(
    found: Found,
    rows: Sequence[Measure],
    generator: Generator,
    made: Made,
    sides: tuple[Dataset, Dataset],
    real: tuple[NDArray[np.int64], str],
    seed: int,
    model: Path,
) -> Report:
    """Everything that the page shows. `sides`: training and test images; `real`: the numbers of
    the training images that were compared with, and why there are no class pictures if so."""
    train, _ = sides
    numbers, why = real
    film, table = model / "film.webp", model / "curves.csv"
    charts = curves(table.read_text(encoding="utf-8")) if table.is_file() else []
    return Report(
        title=f"{generator.config.architecture}, {generator.images / 1000:g} thousand images",
        measures=rows,
        protocol=dict(found.protocol),
        warnings=found.warnings,
        lineage={"images shown": f"{generator.images:,}", "data": train.sha256},
        samples=sample(generator, SHOWN, seed, purpose=GRID_PURPOSE),
        reals=train.batch(numbers[randomness.permutation(seed, "shown", 0, len(numbers))[:SHOWN]]),
        classes=_classes(found, generator, train, seed) or why,
        interpolations=interpolations(generator, seed),
        truncation=truncation_sweep(generator, seed),
        memorisation=_memorisation(found.copying),
        neighbours=_neighbours(found.copying, made, train, numbers),
        extremes=_extremes(found.copying, made),
        film=film.read_bytes() if film.is_file() else "training left no film",
        curves=charts or "training left no curves",
        extrapolation=found.comparison.extrapolation,
    )


def _classes(found: Found, generator: Generator, train: Dataset, seed: int) -> list[ClassRow]:
    known, labels = found.comparison.classes, train.labels
    if isinstance(known, str) or labels is None:
        return []
    made = class_samples(generator, seed, PER_CLASS)
    rows = []
    for number, told in enumerate(known):
        own = np.flatnonzero(labels == number)
        own = own[randomness.permutation(seed, f"class/{number}", 0, len(own))[:PER_CLASS]]
        pictured = number < len(made)
        rows.append(
            ClassRow(
                told.name,
                made[number] if pictured else made[0][:0],
                train.batch(own) if pictured else None,
                told.distance,
                found.class_floors.get(told.name),
                told.coverage,
            )
        )
    return rows


def _memorisation(copying: Copying | str) -> Memorisation | str:
    if isinstance(copying, str):
        return copying
    told = copying.verdict
    evidence = [f"{each[:1].upper()}{each[1:]}." for each in told.evidence]
    limits = f"{LIMITS} Look at the strips of nearest neighbours."
    return Memorisation(told.opening, told.finding, [*evidence, *told.seen], (limits,))


def _neighbours(
    copying: Copying | str, made: Made, train: Dataset, numbers: NDArray[np.int64]
) -> Neighbours | str:
    if isinstance(copying, str):
        return copying
    near = copying.features
    shown = near.most_suspicious(STRIPS)
    pixels, distances = None, None
    if copying.pixels is not None:
        pixels = _strips(train, copying.pixels.numbers[shown, :PER_STRIP])
        distances = copying.pixels.distances[shown, :PER_STRIP]
    return Neighbours(
        np.asarray(made.images[shown]),
        _strips(train, numbers[near.numbers[shown, :PER_STRIP]]),
        near.distances[shown, :PER_STRIP],
        pixels,
        distances,
        shown.tolist(),
    )


def _strips(train: Dataset, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    images = train.batch(numbers.reshape(-1))
    return images.reshape(*numbers.shape, *images.shape[1:])


def _extremes(copying: Copying | str, made: Made) -> Extremes | str:
    if isinstance(copying, str):
        return copying
    distances = copying.features.distances[:, 0]
    order = np.argsort(distances, kind="stable")
    near, far = order[:EXTREMES], order[::-1][:EXTREMES]
    return Extremes(
        np.asarray(made.images[near]),
        distances[near],
        np.asarray(made.images[far]),
        distances[far],
    )
