"""Samples that copy training images, judged one by one with the measures of the evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.data.dataset import DESCRIPTION, Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.memorisation import LEVEL
from ganpipe.evaluation.neighbours import nearest
from ganpipe.evaluation.reference import MEMORISATION, UNSEEN, extractor_for, read_reference
from ganpipe.evaluation.unseen import (
    NEIGHBOURS,
    Images,
    Near,
    fingerprints,
    pixels_of,
    read_unseen,
    reduced,
)
from ganpipe.files import read_json
from ganpipe.generation.request import REGISTERED, Request
from ganpipe.params import PARAMS_FILE, load


class Copies:
    """Training images that samples are held against, and how near unseen images come to them.

    A sample is a copy when it equals a training image, or when, by features or by pixels, its
    nearest training image is far nearer than its next ones to a degree that only LEVEL of unseen
    images reach (Closeness.alone, whose tail the evaluation measures).
    """

    def __init__(self, workspace: Path, scratch: Path) -> None:
        train = Dataset(workspace / "data" / "train")
        folder = workspace / "data" / "reference"
        known = read_reference(folder)
        if known.protocol["dataset_sha256"] != train.sha256:
            raise GanpipeError(f"{folder} was made from other images than {train.folder}: run dvc")
        if why := known.left_out.get(MEMORISATION):
            raise GanpipeError(
                f"filter=memorised cannot tell for {train.folder}, which {why}; use "
                "filter=near-duplicates or none"
            )
        params = load(workspace / PARAMS_FILE).evaluate
        self.extractor = extractor_for(params, folder)
        unseen = read_unseen(folder / UNSEEN)
        self.exact = unseen.train
        self.features, self.feature_edge = known.features, _edge(unseen.features)
        self.pixels, self.pixel_edge = None, 0.0
        if unseen.pixels is not None:
            real = Images(train.batch, np.arange(len(train)))
            self.pixels = pixels_of(real, scratch / "pixels-train.npy")
            self.pixel_edge = _edge(unseen.pixels)
        keys = ("dataset_sha256", "extractor", "weights_sha256", "reference_sha256")
        self.identity = {key: known.protocol[key] for key in keys}

    def among(self, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which of the images uint8 [n, H, W, C] are copies: bool [n]."""
        own = Images(images.__getitem__, np.arange(len(images)))
        found = np.isin(fingerprints(own), self.exact)
        found |= _alone(self.extractor(images), self.features) < self.feature_edge
        if self.pixels is not None:
            found |= _alone(reduced(images), self.pixels) < self.pixel_edge
        return found


def _alone(rows: NDArray[Any], train: NDArray[Any]) -> NDArray[np.float64]:
    return _ratio(nearest(rows, train, NEIGHBOURS)[0])


def _edge(near: Near) -> float:
    """What only LEVEL of unseen images lie below, as memorisation.tail has it."""
    values = np.sort(_ratio(near.distances))
    return float(values[max(1, int(np.ceil(LEVEL * len(values)))) - 1])


def _ratio(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nearest distance / mean of the k nearest: float64 [n]; 0 where all are 0."""
    mean = distances.mean(axis=1)
    ratio: NDArray[np.float64] = distances[:, 0] / np.where(mean > 0, mean, 1.0)
    return ratio


def training_set(request: Request, repo: Path) -> Path:
    """The folder with data/train, data/reference and params.yaml that a generator learnt from.

    Raises GanpipeError when it is not on this machine.
    """
    from ganpipe.workspace import workspaces

    if not request.params.model.startswith(REGISTERED):
        folder = request.folder.resolve().parent
        if _digest(folder) is None:
            raise GanpipeError(
                f"filter={request.params.filter} needs the training set: {folder} holds no "
                "data/train; name the model/ folder of a run, or a registered version"
            )
        return folder
    wanted = request.tags.get("ganpipe.dataset_sha256", "")
    for folder in [repo, *workspaces(repo)]:
        if wanted and _digest(folder) == wanted:
            return folder
    raise GanpipeError(
        f"filter={request.params.filter} needs the training set of {request.version} "
        f"(data/train with sha256 {wanted or 'unknown'}), which no workspace here holds: bring it "
        f"with `ganpipe reproduce {request.version}`, or use filter=near-duplicates or none"
    )


def _digest(folder: Path) -> str | None:
    """Of the training set in a workspace that has a reference too."""
    described = folder / "data" / "train" / DESCRIPTION
    if not described.is_file() or not (folder / "data" / "reference").is_dir():
        return None
    return str(read_json(described)["sha256"])
