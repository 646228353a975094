"""Going on from a checkpoint: another run's full state becomes the beginning of this one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, sha256
from ganpipe.params import TrainParams
from ganpipe.training.description import is_sealed

if TYPE_CHECKING:  # the stage `start` needs no torch
    from ganpipe.training.trainer import Trainer

SCRATCH = "scratch"  # the value of train.start, and the file in data/start that stands for it
TENSORS, DESCRIPTION = "state.safetensors", "state.json"
NAMED_DIFFERENCES = 3


def read(folder: Path) -> dict[str, Any]:
    """What state.json says of a checkpoint folder whose tensors are whole.

    Raises GanpipeError when a file is missing or damaged.
    """
    tensors, description = folder / TENSORS, folder / DESCRIPTION
    for path in (description, tensors):
        if not path.is_file():
            raise GanpipeError(
                f"{folder} is no checkpoint: it has no {path.name}; name the checkpoints/ folder "
                "of a run"
            )
    try:
        found = read_json(description)
    except ValueError as error:
        raise GanpipeError(f"{description} is damaged: {error}") from None
    if not isinstance(found, dict) or not {"format", "images", "sha256"} <= found.keys():
        raise GanpipeError(f"{description} does not describe a state of ganpipe's training")
    if not is_sealed(found):
        raise GanpipeError(
            f"{description} is damaged: its values are not those that were sealed; "
            "take another copy of the checkpoint"
        )
    if found["sha256"] != sha256(tensors):
        raise GanpipeError(
            f"{tensors} is damaged: its sha256 is not the one in {DESCRIPTION}; "
            "take another copy of the checkpoint"
        )
    return found


def check_length(images: int, params: TrainParams) -> None:
    """Raise GanpipeError when a run that goes on after `images` images would end before."""
    if params.start_counter == "continue" and images >= math.ceil(params.kimg * 1000):
        raise GanpipeError(
            f"train.kimg={params.kimg:g} counts the checkpoint's images too, which was shown "
            f"{images / 1000:g} kimg: set train.kimg to more than that, or "
            "train.start_counter=restart to count from 0"
        )


def apply(trainer: Trainer, folder: Path, params: TrainParams) -> None:
    """Put a new trainer into the state that data/start holds; with `scratch` leave it as it is.

    Networks, average and optimizers are the checkpoint's; so are the counters and ada's strength,
    unless train.start_counter=restart. Sums of the curves begin at 0.
    Raises GanpipeError when the folder is not what train.start says, when the checkpoint's
    networks have other tensors, and when train.kimg ends before it.
    """
    if (params.start == SCRATCH) != (folder / SCRATCH).is_file():
        raise GanpipeError(
            f"{folder} is not what train.start={params.start} stands for: "
            "bring it up to date with `dvc repro start`"
        )
    if params.start == SCRATCH:
        return
    from ganpipe.training import state

    description = read(folder)
    check_length(description["images"], params)
    _check_networks(trainer, folder / TENSORS, description, params.start)
    saved = state.SavedState(description["images"], folder / TENSORS, folder / DESCRIPTION)
    state.restore(trainer, saved)
    if params.start_counter == "restart":
        trainer.images = trainer.steps = 0
        trainer.strength.fill_(params.augment_strength)
    trainer.means.sums.zero_()
    trainer.means.counts.zero_()


def _check_networks(
    trainer: Trainer, tensors: Path, description: dict[str, Any], start: str
) -> None:
    """Raise GanpipeError that names the first tensors in which the networks differ."""
    from safetensors import safe_open

    from ganpipe.training.state import tensors_of

    here = {name: list(value.shape) for name, value in tensors_of(trainer).items()}
    with safe_open(tensors, framework="pt") as file:
        there = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    # a new optimizer has no moments yet, and moments and average have the shapes of their weights
    names = [name for name in sorted(here | there) if not name.startswith(("adam.", "average."))]
    other = [
        f"{name} is {_shape(there.get(name))} there and {_shape(here.get(name))} here"
        for name in names
        if here.get(name) != there.get(name)
    ]
    if not other:
        return
    if len(other) > NAMED_DIFFERENCES:
        other[NAMED_DIFFERENCES:] = [f"and {len(other) - NAMED_DIFFERENCES} more"]
    config = description.get("config")
    made_as = f"; the checkpoint's are {json.dumps(config)}" if config else ""
    raise GanpipeError(
        f"train.start={start} is a checkpoint of other networks than these: {', '.join(other)}"
        f"{made_as}. Give model.*, data.resolution, data.channels and the classes the values of "
        "the run that it is from"
    )


def _shape(shape: list[int] | None) -> str:
    if shape is None:
        return "missing"
    return "x".join(map(str, shape)) or "a number"
