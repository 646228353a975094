"""The exact state of a run on disk: everything that its next step depends on, never half-written.

A state is two files, `state-<images>.safetensors` and `state-<images>.json`; the JSON is written
last and holds the sha256 of the tensors, so that a torn or damaged state is seen and the one
before it is used.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganpipe.files import read_json, replacing, sha256, write_json
from ganpipe.networks import NetworkConfig
from ganpipe.training.history import Best
from ganpipe.training.start import DESCRIPTION, TENSORS
from ganpipe.training.trainer import Trainer

FORMAT = 1
KEPT = 2


@dataclass(frozen=True)
class SavedState:
    """A state that was found on disk and is whole."""

    images: int
    tensors: Path
    description: Path
    best: Best | None = None
    """The best snapshot so far; its state is kept too."""
    pending: bool = False
    """Saved after a step, before the work that follows this step (snapshot, curves) was done."""


def tensors_of(trainer: Trainer) -> dict[str, Tensor]:
    """All tensors of the state, by name."""
    found = {
        "curves.sums": trainer.means.sums,
        "curves.counts": trainer.means.counts,
        "augment.strength": trainer.strength,
    }
    for name, network in _networks(trainer).items():
        found |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in trainer.optimizers.items():
        for number, values in optimizer.state_dict()["state"].items():
            found |= {f"adam.{name}.{number}.{key}": value for key, value in values.items()}
    return found


def _networks(trainer: Trainer) -> dict[str, nn.Module]:
    networks = trainer.networks
    return {
        "generator": networks.generator,
        "discriminator": networks.discriminator,
        "average": networks.average,
    }


def save(
    trainer: Trainer,
    folder: Path,
    *,
    config: NetworkConfig | None = None,
    best: Best | None = None,
    pending: bool = False,
) -> None:
    """Write the state of this moment into the folder; the last two stay, and each one's best.

    `config`: of the networks, for whoever starts from this state.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = _tensors(folder, trainer.images)
    with replacing(tensors) as beside:
        cpu = {name: value.cpu().contiguous() for name, value in tensors_of(trainer).items()}
        save_file(cpu, beside)
    write_json(
        tensors.with_suffix(".json"),
        {
            "format": FORMAT,
            "images": trainer.images,
            "steps": trainer.steps,
            "sha256": sha256(tensors),
            "best": None if best is None else asdict(best),
            "pending": pending,
            "config": None if config is None else asdict(config),
        },
    )
    drop_older(folder, KEPT)


def _tensors(folder: Path, images: int) -> Path:
    return folder / f"state-{images:012d}.safetensors"


def drop_older(folder: Path, kept: int) -> None:
    """Remove all but the newest states and the best snapshots that these name.

    These are one more at most: a new best is saved at once, so of two states in a row either the
    newer is its own best, or both name the same.
    """
    states = sorted(folder.glob("state-*.json"))
    named = {
        found.best.images
        for description in states[-kept:]
        if (found := _read(description)) is not None and found.best is not None
    }
    for tensors in folder.glob("state-*.safetensors"):
        if not tensors.with_suffix(".json").exists():
            tensors.unlink()  # left by a process that was killed between the two
    for old in states[:-kept]:
        if int(old.stem.removeprefix("state-")) not in named:
            old.with_suffix(".safetensors").unlink(missing_ok=True)
            old.unlink()


def drop_later(folder: Path, images: int) -> None:
    """Remove the states of more images shown: a run goes on before them, and makes them anew."""
    for description in folder.glob("state-*.json"):
        if int(description.stem.removeprefix("state-")) > images:
            description.unlink()  # first: without it the tensors count for nothing
            description.with_suffix(".safetensors").unlink(missing_ok=True)


def export(saved: SavedState, output: Path) -> None:
    """Copy a state to `output` under plain names: an output that DVC versions."""
    shutil.copyfile(saved.tensors, output / TENSORS)
    shutil.copyfile(saved.description, output / DESCRIPTION)


def find(folder: Path) -> SavedState | None:
    """The newest state in the folder that is whole, and so is its best, or None."""
    for description in sorted(folder.glob("state-*.json"), reverse=True):
        saved = _whole(description)
        if saved is not None and best_of(saved) is not None:
            return saved
    return None


def best_of(saved: SavedState) -> SavedState | None:
    """The state of the best snapshot, or this one where none is better; None when damaged."""
    if saved.best is None or saved.best.images == saved.images:
        return saved
    return _whole(_tensors(saved.tensors.parent, saved.best.images).with_suffix(".json"))


def before(folder: Path, images: int) -> SavedState | None:
    """The newest whole state of fewer images shown."""
    earlier = [
        saved
        for description in sorted(folder.glob("state-*.json"))
        if (saved := _whole(description)) is not None and saved.images < images
    ]
    return earlier[-1] if earlier else None


def _whole(description: Path) -> SavedState | None:
    """The state that a JSON file describes, if neither was damaged."""
    saved = _read(description)
    if saved is None or not saved.tensors.exists():
        return None
    return saved if read_json(description).get("sha256") == sha256(saved.tensors) else None


def _read(description: Path) -> SavedState | None:
    try:
        known: dict[str, Any] = read_json(description)
    except (FileNotFoundError, json.JSONDecodeError):
        return None  # torn by a crash of the machine: the one before it is whole
    return SavedState(
        known["images"],
        description.with_suffix(".safetensors"),
        description,
        None if known["best"] is None else Best(**known["best"]),
        known["pending"],
    )


def restore(trainer: Trainer, saved: SavedState) -> None:
    """Put a trainer into a saved state; it goes on exactly as the one that saved it."""
    tensors = load_file(saved.tensors)
    description = read_json(saved.description)
    if description["format"] != FORMAT:
        raise ValueError(f"{saved.description} has format {description['format']}, not {FORMAT}")
    trainer.images, trainer.steps = description["images"], description["steps"]
    trainer.means.sums.copy_(tensors["curves.sums"])
    trainer.means.counts.copy_(tensors["curves.counts"])
    trainer.strength.copy_(tensors["augment.strength"])
    for name, network in _networks(trainer).items():
        network.load_state_dict(_below(tensors, name))
    for name, optimizer in trainer.optimizers.items():
        by_number: dict[int, dict[str, Tensor]] = {}
        for key, value in _below(tensors, f"adam.{name}").items():
            number, _, field = key.partition(".")
            by_number.setdefault(int(number), {})[field] = value
        whole = optimizer.state_dict()
        whole["state"] = by_number
        optimizer.load_state_dict(whole)
        _lay_out(optimizer)


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give each moment its weight's layout in memory.

    Files hold tensors row by row, networks are channels_last, and the fused optimizer walks both
    through memory side by side.
    """
    for weight, values in optimizer.state.items():
        for key, value in values.items():
            if value.shape == weight.shape:
                values[key] = torch.empty_like(weight).copy_(value)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {
        key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)
    }


def all_finite(trainer: Trainer) -> bool:
    """Whether no weight of either network is NaN or infinite."""
    networks = trainer.networks
    weights = [*networks.generator.parameters(), *networks.discriminator.parameters()]
    return all(bool(torch.isfinite(weight).all()) for weight in weights)
