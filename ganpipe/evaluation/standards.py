"""What every generator is held against, made of real images once: unseen ones, and a judge."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.dataset import Dataset
from ganpipe.evaluation import features as stored
from ganpipe.evaluation.reference import (
    JUDGE,
    MEMORISATION,
    NEVER,
    TEST,
    TRAIN,
    UNSEEN,
    USEFULNESS,
    lessons,
)
from ganpipe.evaluation.unseen import Images, unseen_side, write_unseen
from ganpipe.evaluation.usefulness import (
    SHOWN,
    Judge,
    Labelled,
    hindrance,
    trained_judge,
    write_judge,
)
from ganpipe.events import progress
from ganpipe.params import EvaluateParams


def write_standards(
    train: Dataset,
    test: Dataset,
    unseen: NDArray[np.int64],
    samples: int,
    params: EvaluateParams,
    folder: Path,
) -> dict[str, str]:
    """Write both into the reference `folder`, beside features that are there already.

    `unseen`: which test images have features; `samples`: images that a generator will be asked
    for. Returns why memorisation or usefulness cannot be told, where that is so.
    """
    left_out = {}
    work = folder / "work"
    work.mkdir()
    found = unseen_side(
        Images(train.batch, np.arange(len(train))),
        Images(test.batch, unseen),
        (stored.read(folder / TRAIN), stored.read(folder / TEST)),
        seed=params.seed,
        folder=work,
    )
    shutil.rmtree(work)
    if isinstance(found, str):
        left_out[MEMORISATION] = found
    else:
        write_unseen(folder / UNSEEN, found)
    judge = _judge(train, test, samples, params)
    if isinstance(judge, str):
        left_out[USEFULNESS] = judge
    else:
        (folder / JUDGE).mkdir()
        write_judge(folder / JUDGE, judge)
    return left_out


def _judge(train: Dataset, test: Dataset, samples: int, params: EvaluateParams) -> Judge | str:
    if params.usefulness == "never":
        return NEVER
    if train.labels is None or test.labels is None:
        return "the real images have no classes"
    sides = {"training": train.labels, "test": test.labels}
    if why := hindrance(sides, train.classes, (train.height, train.width)):
        return why
    shown = lessons(samples, SHOWN)
    with progress("reference", "classifier on real images", shown + len(test)) as bar:
        return trained_judge(
            Labelled(train.batch, train.labels),
            Labelled(test.batch, test.labels),
            train.classes,
            samples,
            seed=params.seed,
            shown=shown,
            advance=bar.advance,
        )
