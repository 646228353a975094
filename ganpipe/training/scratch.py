"""The folder in which a run keeps what it needs to go on: one for all that decides its bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from ganpipe.data.dataset import Dataset
from ganpipe.files import sha256
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training.distributed import World

# the code that a state depends on: what dvc.yaml lists for the stage
CODE = (
    "networks",
    "training",
    "evaluation/classifier.py",
    "evaluation/distances.py",
    "evaluation/extractors",
    "evaluation/features.py",
    "evaluation/made.py",
    "evaluation/naming.py",
    "evaluation/reference.py",
    "params",
    "compute.py",
    "data/dataset.py",
    "files.py",
    "images.py",
    "randomness.py",
)
DONE = "done"
WAITING = "train: another run with the same inputs is training; waiting for it"
PATIENCE = 60.0  # seconds: how often the other processes hear that this one still waits


# parameters that decide no byte of a run: dvc.yaml leaves them out too
NO_MATTER = frozenset({"state_url"})


def scratch_key(
    dataset: Dataset, model: ModelParams, train: TrainParams, reference: Path | None = None
) -> str:
    """A name for everything that decides the bytes of a run: a state is never another run's."""
    package = Path(__file__).resolve().parents[1]
    code = hashlib.sha256()
    for part in CODE:
        path = package / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            code.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
    measured = reference is not None and train.snapshot_samples > 0
    inputs = {
        "dataset": dataset.sha256,
        "model": model.model_dump(),
        "train": train.model_dump(exclude=set(NO_MATTER)),
        "reference": _content(reference) if reference is not None and measured else None,
        "code": code.hexdigest(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return f"train-{digest[:24]}"


def _content(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}


@contextmanager
def claimed(scratch: Path, world: World) -> Iterator[bool]:
    """Hold a scratch folder, for all processes of the world.

    Where another run with the same inputs holds it, this one waits and then takes what the other
    has come to. What was delivered before is trained anew, from nothing: DVC asks for it again. But
    where DVC was ended before it noted what was delivered, that is delivered again.
    Yields whether that is so; False in all processes but the first.
    """
    lock = FileLock(scratch.with_name(f"{scratch.name}.lock"))
    if world.first:
        scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        patience, waited = 0.0, False
        while world.any(world.first and not _acquired(lock, patience)):
            if world.first and not waited:
                print(WAITING, flush=True)
            patience, waited = PATIENCE, True
        anew = False
        if world.first:
            old = scratch.with_name(f"{scratch.name}.old")
            if old.exists():
                shutil.rmtree(old)
            anew = not waited and _is_noted(scratch)
            if anew:
                scratch.rename(old)  # at once: half a folder would look like a run
                shutil.rmtree(old)
        world.wait()
        yield anew
    finally:
        lock.release()


def deliver(scratch: Path) -> None:
    """Mark that the outputs of the run were written, in answer to what DVC asked for here."""
    (scratch / DONE).write_text(_question(), encoding="utf-8")


def _is_noted(scratch: Path) -> bool:
    """Whether a run was delivered, and DVC may have noted it."""
    try:
        asked = (scratch / DONE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return asked != _question() or not asked


def _question() -> str:
    """What DVC asks for: the same until it writes dvc.lock; empty where there is none."""
    lock = Path("dvc.lock").absolute()
    return f"{lock} {lock.stat().st_mtime_ns}" if lock.exists() else ""


def _acquired(lock: FileLock, patience: float) -> bool:
    try:
        lock.acquire(timeout=patience)
    except Timeout:
        return False
    return True
