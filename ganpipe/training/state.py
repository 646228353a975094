"""The exact state of a run on disk: everything that its next step depends on, never half-written.

A state is three files: `state-<images>.safetensors`, the curves up to then in
`state-<images>.jsonl`, and `state-<images>.json`, which is written last, is sealed and holds the
sha256 of the other two and of the grids up to then. So a torn or damaged state is seen and the
one before it is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganpipe.files import read_json, replacing, sha256
from ganpipe.networks import NetworkConfig
from ganpipe.training import description as described
from ganpipe.training.history import Best
from ganpipe.training.start import DESCRIPTION, TENSORS
from ganpipe.training.trainer import Trainer

FORMAT = 1
KEPT = 2
GRIDS = "grids"  # the folder of the pictures, beside that of the states
SUFFIXES = (".safetensors", ".jsonl", ".json")  # in the order of writing


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
    grids: dict[str, str] = field(default_factory=dict)
    """sha256 of each grid that the run has made so far, by file name in the folder `grids`."""

    @property
    def history(self) -> Path:
        """The curves up to this state."""
        return self.tensors.with_suffix(".jsonl")


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
    history: bytes = b"",
    grids: Mapping[str, str] | None = None,
) -> SavedState:
    """Write the state of this moment into the folder; the last two stay, and each one's best.

    `config`: of the networks, for whoever starts from this state. `history`: the curves so far.
    `grids`: sha256 of the files in the folder `grids` beside this one, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    description = path_of(folder, trainer.images)
    saved = SavedState(
        trainer.images,
        description.with_suffix(".safetensors"),
        description,
        best,
        pending,
        dict(grids or {}),
    )
    with replacing(saved.tensors) as beside:
        cpu = {name: value.cpu().contiguous() for name, value in tensors_of(trainer).items()}
        save_file(cpu, beside)
    with replacing(saved.history) as beside:
        beside.write_bytes(history)
    described.write(
        description,
        {
            "format": FORMAT,
            "images": trainer.images,
            "steps": trainer.steps,
            "sha256": sha256(saved.tensors),
            "history_sha256": sha256(saved.history),
            "grids_sha256": saved.grids,
            "best": None if best is None else asdict(best),
            "pending": pending,
            "config": None if config is None else asdict(config),
        },
    )
    drop_older(folder, KEPT)
    return saved


def path_of(folder: Path, images: int) -> Path:
    """The description of the state after so many images shown."""
    return folder / f"state-{images:012d}.json"


def images_of(path: Path) -> int:
    """Images shown at a state, from the name of any of its files."""
    return int(path.stem.removeprefix("state-"))


def drop_older(folder: Path, kept: int) -> None:
    """Remove all but the newest states and the best snapshots that these name.

    These are one more at most: a new best is saved at once, so of two states in a row either the
    newer is its own best, or both name the same.
    """
    states = sorted(folder.glob("state-*.json"))
    newest = {images_of(description): read(description) for description in states[-kept:]}
    stay = set(newest) | {
        saved.best.images for saved in newest.values() if saved is not None and saved.best
    }
    for description in states[:-kept]:
        if images_of(description) not in stay:
            _remove(description)
    for suffix in SUFFIXES:
        for left in folder.glob(f"state-*{suffix}"):
            if not left.with_suffix(".json").exists():
                left.unlink()  # by a process that was killed while it wrote or removed a state


def drop_later(folder: Path, images: int) -> None:
    """Remove the states of more images shown: a run goes on before them, and makes them anew."""
    for description in folder.glob("state-*.json"):
        if images_of(description) > images:
            _remove(description)


def _remove(description: Path) -> None:
    for suffix in reversed(SUFFIXES):  # without the description, the rest counts for nothing
        description.with_suffix(suffix).unlink(missing_ok=True)


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
    best = read(path_of(saved.tensors.parent, saved.best.images))
    # its curves and grids are not asked for
    return best if best is not None and _has_tensors(best) else None


def before(folder: Path, images: int) -> SavedState | None:
    """The newest whole state of fewer images shown."""
    earlier = [
        saved
        for description in sorted(folder.glob("state-*.json"))
        if (saved := _whole(description)) is not None and saved.images < images
    ]
    return earlier[-1] if earlier else None


def _whole(description: Path) -> SavedState | None:
    """The state that a JSON file describes, if nothing that belongs to it was damaged."""
    saved = read(description)
    if saved is None or not _has_tensors(saved):
        return None
    sums = {saved.history: read_json(description)["history_sha256"]}
    sums |= {description.parents[1] / GRIDS / name: known for name, known in saved.grids.items()}
    whole = all(path.exists() and sha256(path) == known for path, known in sums.items())
    return saved if whole else None


def _has_tensors(saved: SavedState) -> bool:
    if not saved.tensors.exists():
        return False
    return bool(read_json(saved.description)["sha256"] == sha256(saved.tensors))


def read(description: Path) -> SavedState | None:
    """What a description says, or None when it was damaged; its tensors are not looked at."""
    known = described.read(description)
    if known is None:
        return None  # by a crash of the machine, say: the one before it is whole
    return SavedState(
        known["images"],
        description.with_suffix(".safetensors"),
        description,
        None if known["best"] is None else Best(**known["best"]),
        known["pending"],
        known["grids_sha256"],
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
