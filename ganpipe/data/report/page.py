"""data.html: everything there is to see of a data set on one page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganpipe.data import words
from ganpipe.data.manifest import STATUSES
from ganpipe.data.report import facts
from ganpipe.data.report.aside import set_aside
from ganpipe.data.report.pictures import GRID_IMAGES, data_uris, draw, thumbnails
from ganpipe.data.report.previews import PAIRS, read_previews

if TYPE_CHECKING:
    import pandas as pd

    from ganpipe.data.dataset import Dataset
    from ganpipe.data.report.aside import Group
    from ganpipe.data.report.facts import ClassCount

MAX_CLASSES = 200
MAX_SET_ASIDE = 200
SAMPLED_CLASSES = 50
SAMPLES_PER_CLASS = 8
SAMPLE_CHARACTERS = 1_700_000
DUPLICATE_CHARACTERS = 900_000


@dataclass(frozen=True)
class Sample:
    """One training image of the page."""

    uri: str
    path: str
    caption: str


@dataclass(frozen=True)
class SampleRow:
    """Some images of a class."""

    title: str
    count: int
    samples: list[Sample]


def html(raw: Path, manifest: pd.DataFrame, train: Dataset, test: Dataset) -> str:
    """The page as HTML that asks for nothing from outside and runs nothing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=here,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": words.count,
        "percent": words.percent,
        "plural": words.plural,
        "shown": words.shown,
    }
    used = facts.used_files(manifest)
    classes = facts.class_counts(train, test)
    rest = classes[MAX_CLASSES:]
    groups = _few_pairs(set_aside(manifest, MAX_SET_ASIDE))
    return environment.get_template("page.html").render(
        train=train,
        test=test,
        files=len(manifest),
        statuses=facts.status_counts(manifest),
        meanings=STATUSES,
        classes=classes,
        max_classes=MAX_CLASSES,
        largest=max((each.train + each.test for each in classes), default=0),
        smallest=min((each.train + each.test for each in classes), default=0),
        shape=words.shape(train.height, train.width, train.channels),
        rest=(sum(each.train for each in rest), sum(each.test for each in rest)),
        histograms=facts.histograms(used),
        kinds={"Format": facts.kinds(used, "format"), "Mode": facts.kinds(used, "mode")},
        sample_rows=_sample_rows(manifest, train, classes),
        groups=groups,
        pictures=_duplicate_pictures(raw, manifest, train, test, groups),
    )


def _few_pairs(groups: list[Group]) -> list[Group]:
    return [
        replace(group, files=group.files[:PAIRS]) if group.status == "near-duplicate-of" else group
        for group in groups
    ]


def _sample_rows(
    manifest: pd.DataFrame, train: Dataset, classes: list[ClassCount]
) -> list[SampleRow]:
    """Random training images: some of each of the largest classes, or of all without classes."""
    labels = train.labels
    if labels is None or not classes:
        drawn = [("", len(train), draw(np.arange(len(train)), GRID_IMAGES, ""))]
    else:
        drawn = []
        largest = [each for each in classes if each.train][:SAMPLED_CLASSES]
        for each in sorted(largest, key=lambda each: each.number):
            members = np.flatnonzero(labels == each.number)
            numbers = draw(members, SAMPLES_PER_CLASS, f"class {each.number}")
            drawn.append((each.name, each.train, numbers))
    numbers = np.concatenate([numbers for _, _, numbers in drawn])
    files = manifest.iloc[np.flatnonzero(manifest["split"] == "train")[numbers]]
    uris = data_uris(thumbnails(train, numbers.tolist()), SAMPLE_CHARACTERS)
    samples = (Sample(*each) for each in zip(uris, files["path"], files["caption"], strict=True))
    return [
        SampleRow(title, count, [next(samples) for _ in numbers]) for title, count, numbers in drawn
    ]


def _duplicate_pictures(
    raw: Path, manifest: pd.DataFrame, train: Dataset, test: Dataset, groups: list[Group]
) -> dict[str, str]:
    """Data URIs, by path, of the images that the listed duplicates repeat, and of previews."""
    files = [file for group in groups for file in group.files]
    wanted = {path for file in files for path in (file.path, file.kept)}
    pictures = {path: each for path, each in read_previews(raw).items() if path in wanted}
    for split, dataset in (("train", train), ("test", test)):
        paths = manifest["path"][manifest["split"] == split].reset_index(drop=True)
        here = paths[paths.isin(wanted)]
        pictures |= dict(zip(here, thumbnails(dataset, here.index), strict=True))
    uris = data_uris(list(pictures.values()), DUPLICATE_CHARACTERS)
    return dict(zip(pictures, uris, strict=True))
