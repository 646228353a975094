"""What sweeps and watches keep below the state folder to go on with."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
from pathlib import Path

from ganpipe.collection.folders import own_bytes
from ganpipe.collection.items import Item, Rules, judged
from ganpipe.sweeping.record import FOLDER

SWEEPS, BEGUN, WATCH = FOLDER, f"{FOLDER}/begun", "watch"


def notes(state: Path, models: Collection[str], rules: Rules) -> list[Item]:
    """The records of sweeps, what flow runs of sweeps began with, and what watches have seen.

    A retry of a sweep needs the first two, so they count by their age. A watch needs its folder as
    long as its model is one of `models`: without it all images that came in would be new again.
    """
    return [*_sweeps(state, rules), *_begun(state, rules), *_watched(state, models, rules)]


def _sweeps(state: Path, rules: Rules) -> list[Item]:
    found = [path for kind in ("json", "lock") for path in (state / SWEEPS).glob(f"[!.]*.{kind}")]
    items = []
    for record in sorted({path.with_suffix(".json") for path in found}):
        files = [path for path in found if path.stem == record.stem]
        written = max(path.stat().st_mtime for path in files)
        size = sum(path.stat().st_size for path in files)
        items.append(_note(f"sweep {record.stem}", record, written, rules, size))
    return items


def _begun(state: Path, rules: Rules) -> list[Item]:
    return [
        _note(f"sweep of {path.stem}", path, path.stat().st_mtime, rules, path.stat().st_size)
        for path in sorted((state / BEGUN).glob("[!.]*.json"))
    ]


def _watched(state: Path, models: Collection[str], rules: Rules) -> list[Item]:
    # as ganpipe.drift.look names them
    known = {hashlib.sha256(each.encode()).hexdigest()[:16]: each for each in models}
    items = []
    for folder in sorted(each for each in (state / WATCH).glob("*") if each.is_dir()):
        needed = f"watches of {known[folder.name]}" if folder.name in known else ""
        places = [folder] if needed else [folder, *folder.rglob("*")]
        written = max(path.stat().st_mtime for path in places)
        name = f"watch {folder.name}"
        items.append(_note(name, folder, written, rules, own_bytes(folder), needed))
    return items


def _note(name: str, path: Path, written: float, rules: Rules, size: int, needed: str = "") -> Item:
    return judged("notes", name, str(path), written, rules, size=size, needed=needed)


def remove(item: Item, state: Path) -> None:
    """Delete a note; a sweep holds `locks.using_cache` as long as it needs its own."""
    path = Path(item.where)
    if path.parent not in (state / name for name in (SWEEPS, BEGUN, WATCH)):
        raise ValueError(f"{path} is no note below {state}")
    if path.is_dir():
        shutil.rmtree(path)
        return
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)
