"""Any two sets of images compared: `ganpipe score`."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganpipe import __version__
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.comparison import (
    Comparison,
    Real,
    compare,
    numbers_of,
    real_side,
)
from ganpipe.evaluation.copying import Copying, copying
from ganpipe.evaluation.describe import Found, measures
from ganpipe.evaluation.distances import frechet_distance
from ganpipe.evaluation.extractors import Extractor, check_options, make_extractor
from ganpipe.evaluation.features import Features
from ganpipe.evaluation.floor import real_floor
from ganpipe.evaluation.reference import lessons
from ganpipe.evaluation.report import Measure
from ganpipe.evaluation.sets import ImageSet, Statistics, check_there, read_set
from ganpipe.evaluation.sides import (
    STATISTICS,
    Side,
    channels_of,
    chosen,
    of_images,
    of_statistics,
    other_classes,
    reader,
    subset,
    warnings,
)
from ganpipe.evaluation.unseen import Images, unseen_side
from ganpipe.evaluation.usefulness import (
    SHOWN,
    Labelled,
    Usefulness,
    hindrance,
    trained_judge,
    usefulness,
)
from ganpipe.events import progress

STAGE = "score"
UNKNOWN = "unknown"
AGAINST_STATISTICS = "_against_statistics"
TYPED = {"neighbours": "most"}
"""Options that have another name than the parameter of `evaluate`."""


@dataclass(frozen=True)
class Options:
    """How two sets are compared."""

    extractor: str = "lite0"
    precision: str = "float32"
    weights: Path | None = None
    samples: int = 0
    """Images of each side; 0 takes all that there are."""
    seed: int = 1
    most: int = 10_000
    """Images of each side that measures of all pairs look at; memorisation looks at all of the
    real ones."""


@dataclass(frozen=True)
class Score:
    """What is known of one set against another."""

    measures: list[Measure]
    protocol: dict[str, Any]
    warnings: list[str]
    left_out: dict[str, str]
    """Measures that could not be made, and why."""
    copying: Copying | None
    """On memorisation; None where nothing is known."""


def score(images: str, against: str, options: Options, unseen: str = "") -> Score:
    """Compare the set at `images` with the real one at `against`; see sets.read_set.

    `unseen`: real images that no generator was trained on; with them memorisation and usefulness
    can be told. Decoded images and features lie in a temporary folder, where TMPDIR says. Names
    of measures end in `_against_statistics` where only statistics of the real side are known.
    Raises GanpipeError for sets that cannot be read or compared.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="ganpipe-score-") as scratch:
            places = {"images": images, "against": against, "unseen": unseen}
            return _score({name: each for name, each in places.items() if each}, options, scratch)
    except GanpipeError as error:
        raise GanpipeError(typed(str(error))) from error


def typed(text: str) -> str:
    """The text with options of the command in place of parameters of the pipeline."""
    text = re.sub(r"(raise|set) data\.test_fraction( above 0)?", "bring more with --unseen", text)
    text = text.replace("data.path=", "")
    return re.sub(r"evaluate\.(\w+)", lambda name: f"--{TYPED.get(name[1], name[1])}", text)


def _score(places: dict[str, str], options: Options, scratch: str) -> Score:
    folder = Path(scratch)
    for path in places.values():
        check_there(path)
    check_options(options.extractor, options.precision, options.weights)
    # what cannot be read is told before a feature network is fetched
    found = {name: read_set(path, folder / name) for name, path in places.items()}
    numbers = {
        # an unseen set may be smaller
        name: chosen(each, options.samples, options.seed, f"score/{name}", name == "unseen")
        for name, each in found.items()
        if isinstance(each, ImageSet)
    }
    extractor = _extractor(found["images"], found["against"], options)
    sides: dict[str, Side] = {}
    for name, each in found.items():
        if isinstance(each, Statistics):
            sides[name] = of_statistics(each)
        elif extractor is not None:
            sides[name] = of_images(each, numbers[name], extractor, folder / f"{name}.npy", STAGE)
    ours, theirs, other = sides["images"], sides["against"], sides.get("unseen")
    comparison, real = _compared(ours, theirs, options)
    count = len(ours.chosen)
    floor: Comparison | str = STATISTICS
    if real is not None and extractor is not None:
        floor = real_floor(real, theirs, other, count, extractor, folder / "floor.npy")
    copied: Copying | str = STATISTICS
    useful: Usefulness | str = STATISTICS
    if extractor is not None:
        copied = _copied(ours, theirs, other, options, folder)
        useful = _useful(ours, theirs, other, options)
    told = warnings([ours, theirs], [] if other is None else [other], comparison.distance)
    name = UNKNOWN if extractor is None else extractor.name
    protocol: dict[str, Any] = {
        **places,
        **{f"{name}_sha256": side.sha256 for name, side in sides.items()},
        "samples": count or UNKNOWN,
        "reals": len(theirs.chosen) or UNKNOWN,
        "extractor": name,
        "extractor_version": getattr(extractor, "version", UNKNOWN),
        "weights_sha256": getattr(extractor, "weights_sha256", UNKNOWN),
        "resize": getattr(extractor, "resize", UNKNOWN),
        "pairs": options.most,
        "seed": options.seed,
        "ganpipe": __version__,
    }
    floors = {} if isinstance(floor, str) else numbers_of(floor, name, count)
    known = Found(name, count, comparison, floors, {}, copied, useful, protocol, told)
    rows = measures(known, numbers_of(comparison, name, count))
    if theirs.images is None:
        rows = [replace(row, name=f"{row.name}{AGAINST_STATISTICS}") for row in rows]
    parts = {
        "precision, recall, density, coverage": comparison.manifold,
        "extrapolation": comparison.extrapolation,
        "measures within classes": comparison.classes,
        "floor": floor,
        "memorisation": copied,
        "usefulness": useful,
    }
    left_out = {name: typed(part) for name, part in parts.items() if isinstance(part, str)}
    return Score(rows, protocol, told, left_out, None if isinstance(copied, str) else copied)


def _extractor(
    ours: ImageSet | Statistics, theirs: ImageSet | Statistics, options: Options
) -> Extractor | None:
    """The feature network; None where statistics are all there is to compare."""
    if isinstance(ours, Statistics) and isinstance(theirs, Statistics):
        if len(ours.mean) != len(theirs.mean):
            raise GanpipeError(
                f"{ours.name} holds statistics of {len(ours.mean):,} features and {theirs.name} "
                f"of {len(theirs.mean):,}: they were made by different feature networks"
            )
        return None
    extractor = make_extractor(options.extractor, options.precision, options.weights)
    for each in (ours, theirs):
        if isinstance(each, Statistics) and len(each.mean) != extractor.features:
            raise GanpipeError(
                f"{each.name} holds statistics of {len(each.mean):,} features, {extractor.name} "
                f"gives {extractor.features:,}: choose the feature network that they were made by "
                "with --extractor (2,048 are those of inception)"
            )
    return extractor


def _compared(ours: Side, theirs: Side, options: Options) -> tuple[Comparison, Real | None]:
    """The comparison, and the real side for others where its features are known."""
    if ours.features is None:
        distance = frechet_distance(theirs.moments, ours.moments)
        return Comparison(distance, None, STATISTICS, None, STATISTICS, STATISTICS), None
    if theirs.features is None:
        real = Real(theirs.moments, None, None, options.most, options.seed)
        return replace(compare(real, ours.features, stage=STAGE), classes=STATISTICS), None
    named, classes = None, theirs.classes
    if not (differ := other_classes([ours, theirs])):
        named = theirs.labels(classes)
    real = real_side(theirs.features, options.most, options.seed, named, classes, STAGE)
    labels = None if differ else ours.labels(classes)
    found = compare(real, ours.features, labels, stage=STAGE)
    return (replace(found, classes=differ) if differ else found), real


def _copied(
    ours: Side, theirs: Side, unseen: Side | None, options: Options, folder: Path
) -> Copying | str:
    if unseen is None:
        return "needs --unseen: real images that the generator was not trained on"
    channels = channels_of([ours, theirs, unseen])
    sides: list[tuple[Images, Features]] = []
    # all of the real ones: a copy of one that is left out would not be seen
    for side, most in ((theirs, None), (unseen, options.most), (ours, options.most)):
        if side.images is None or side.features is None:
            return STATISTICS
        count, features = len(side.chosen), side.features
        places = subset(options.seed, "copying", count, most or count)
        if len(places) < count:
            features = np.asarray(features[places])
        sides.append((Images(reader(side.images, side.chosen, channels), places), features))
    (known, known_features), (other, other_features), (made, made_features) = sides
    found = unseen_side(
        known,
        other,
        (known_features, other_features),
        seed=options.seed,
        folder=folder,
        stage=STAGE,
    )
    if isinstance(found, str):
        return found
    pixels = np.load(folder / "pixels-train.npy", mmap_mode="r")
    both = (known_features, made_features)
    return copying(found, made, both, pixels, folder=folder, stage=STAGE)


def _useful(ours: Side, theirs: Side, unseen: Side | None, options: Options) -> Usefulness | str:
    if unseen is None:
        return "needs --unseen, with the same classes"
    sides = [ours, theirs, unseen]
    if differ := other_classes(sides):
        return differ
    channels, classes = channels_of(sides), theirs.classes
    labelled: list[Labelled] = []
    for side in sides:
        images, labels = side.images, side.labels(classes)
        if images is None or labels is None or ours.images is None:
            return STATISTICS
        if (shape := images.shape[:2]) != ours.images.shape[:2]:
            return "the three sets have images of different sizes"
        labelled.append(Labelled(reader(images, side.chosen, channels), labels))
    made, real, test = labelled
    named = {"generated": made.labels, "real": real.labels, "unseen": test.labels}
    if why := hindrance(named, classes, shape):
        return why
    count = min(len(made.labels), len(real.labels))
    seed, shown = options.seed, lessons(count, SHOWN)
    total = 2 * shown + 2 * len(test.labels) + count
    with progress(STAGE, "classifiers on both sets", total) as bar:
        judge = trained_judge(
            real, test, classes, count, seed=seed, shown=shown, advance=bar.advance
        )
        return usefulness(made, test, judge, seed=seed, shown=shown, advance=bar.advance)


def check_out(path: Path) -> None:
    """Raises GanpipeError when a file cannot be written at `path`."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise GanpipeError(f"--out={path} is a folder: name a file in it")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise GanpipeError(f"--out={path} cannot be written: {folder} takes no files")
