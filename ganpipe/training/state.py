"""The exact state of a run on disk: everything that its next step depends on, never half-written.

A state is two files, `state-<images>.safetensors` and `state-<images>.json`; the JSON is written
last and holds the sha256 of the tensors, so that a torn or damaged state is seen and the one
before it is used.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganpipe.files import read_json, replacing, sha256, write_json
from ganpipe.training.trainer import Trainer

FORMAT = 1
KEPT = 2
TENSORS, DESCRIPTION = "state.safetensors", "state.json"


@dataclass(frozen=True)
class SavedState:
    """A state that was found on disk and is whole."""

    images: int
    tensors: Path
    description: Path


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


def save(trainer: Trainer, folder: Path) -> None:
    """Write the state of this moment into the folder and drop all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"state-{trainer.images:012d}"
    _write(trainer, folder / f"{stem}.safetensors", folder / f"{stem}.json")
    drop_older(folder, KEPT)


def drop_older(folder: Path, kept: int) -> None:
    """Remove all but the newest states."""
    for old in sorted(folder.glob("state-*.json"))[:-kept]:
        old.with_suffix(".safetensors").unlink(missing_ok=True)
        old.unlink()


def _write(trainer: Trainer, tensors: Path, description: Path) -> None:
    with replacing(tensors) as beside:
        cpu = {name: value.cpu().contiguous() for name, value in tensors_of(trainer).items()}
        save_file(cpu, beside)
    write_json(
        description,
        {
            "format": FORMAT,
            "images": trainer.images,
            "steps": trainer.steps,
            "sha256": sha256(tensors),
        },
    )


def export(folder: Path, output: Path) -> None:
    """Copy the newest state to `output` under plain names: an output that DVC versions."""
    newest = find(folder)
    if newest is None:
        raise FileNotFoundError(f"no whole state in {folder}")
    shutil.copyfile(newest.tensors, output / TENSORS)
    shutil.copyfile(newest.description, output / DESCRIPTION)


def find(folder: Path) -> SavedState | None:
    """The newest whole state in the folder, or None."""
    for description in sorted(folder.glob("state-*.json"), reverse=True):
        tensors = description.with_suffix(".safetensors")
        try:
            known: dict[str, Any] = read_json(description)
        except json.JSONDecodeError:
            continue  # torn by a crash of the machine: the one before it is whole
        if tensors.exists() and known.get("sha256") == sha256(tensors):
            return SavedState(known["images"], tensors, description)
    return None


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
