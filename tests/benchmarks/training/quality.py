"""Time to quality: fid_lite0_10k against minutes of training and images shown, by configuration.

    make bench-train ARGS="quality --minutes 4,30 --configs resnet,dcgan"

leaves quality.csv and quality.png in the folder of the benchmarks, and goes on with what is there.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from ganpipe.evaluation.measure import distance, opened
from ganpipe.evaluation.naming import metric_name
from ganpipe.files import read_json, replacing, write_json
from ganpipe.networks import load_generator
from tests.benchmarks.figures import Figure, silence
from tests.benchmarks.training.configs import CONFIGS
from tests.benchmarks.training.place import Place
from tests.benchmarks.training.watched import Kept, Moments, watched

MINUTES = [4.0, 30.0]
CEILINGS = {4.0: 15.0, 30.0: 7.0}
BETWEEN = (0.5, 1.0, 2.0, 4.0, 7.0, 10.0, 15.0, 20.0, 25.0, 30.0, 45.0, 60.0)  # of the curve


@dataclass(frozen=True)
class Point:
    """One generator of a curve."""

    config: str
    minutes: float
    kimg: float
    fid: float


def measure(place: Place) -> list[Figure]:
    """Each configuration's curve; the promise is the best one's."""
    asked = sorted(place.minutes or ([0.05, 0.1] if place.quick else MINUTES))
    between = [at for at in BETWEEN if at < asked[-1]]
    moments = Moments(minutes=tuple(sorted({*asked, *([] if place.quick else between)})))
    configs = place.configs or list(CONFIGS)
    dataset, points, broken = place.fashion(), [], {}
    for config in configs:
        model, train = place.settings(config)
        folder = place.run("quality", config, model, train)
        kept, why = watched(dataset, model, train, folder, moments)
        points += [Point(config, one.minutes, one.kimg, fid(place, one)) for one in kept]
        if why:
            broken[config] = why
        _write(points, place.below("quality"))
    for config, why in broken.items():
        print(f"quality: {config} broke off: {why}")
    return _figures(points, configs, asked, metric_name("lite0", place.size(10_000, 200)))


def fid(place: Place, kept: Kept) -> float:
    """fid_lite0_10k of a generator on disk, computed once."""
    path = kept.folder / "fid.json"
    folder, params = place.reference()
    if not path.exists():
        known, extractor = opened(folder, params)
        with silence():
            value = distance(load_generator(kept.folder), known, extractor, params.seed)
        write_json(path, {known.protocol["metric"]: value})
    (value,) = read_json(path).values()
    return float(value)


def _figures(
    points: list[Point], configs: list[str], asked: list[float], metric: str
) -> list[Figure]:
    """What each configuration has reached after the asked minutes, and the best of them."""
    figures = []
    for minutes in asked:
        reached = {}
        for config in configs:
            mine = [point for point in points if point.config == config]
            # the step that was running then; or the end, where train.kimg was over before
            point = next((p for p in mine if p.minutes >= minutes), mine[-1] if mine else None)
            if point is not None and point.minutes <= minutes * 1.02 + 0.05:
                reached[config] = point
        for config, point in reached.items():
            when = f"{config}: after {minutes:g} minutes"
            figures += [
                Figure(f"{when}, {metric}", point.fid),
                Figure(f"{when}, images shown", point.kimg, "kimg"),
            ]
        if reached:
            best = min(point.fid for point in reached.values())
            label = f"best after {minutes:g} minutes, {metric}"
            figures.append(Figure(label, best, "", None, CEILINGS.get(minutes)))
    return figures


def _write(points: list[Point], folder: Path) -> None:
    """The curves as a table and as a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        replacing(folder / "quality.csv") as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(["config", "minutes", "kimg", "fid"])
        table.writerows((p.config, f"{p.minutes:.3f}", p.kimg, f"{p.fid:.3f}") for p in points)
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(10, 4.5), layout="constrained")
    for axes, across in zip(picture.subplots(1, 2, sharey=True), ("minutes", "kimg"), strict=True):
        for config in dict.fromkeys(point.config for point in points):
            mine = [point for point in points if point.config == config]
            where = [getattr(point, across) for point in mine]
            axes.loglog(where, [point.fid for point in mine], marker="o", label=config)
        axes.set_xlabel({"minutes": "minutes of training", "kimg": "thousand images shown"}[across])
        axes.set_ylabel("fid_lite0_10k")
        axes.grid(visible=True, which="both", alpha=0.3)
        axes.legend()
    picture.savefig(folder / "quality.png", dpi=120)
