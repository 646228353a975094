"""Where images come from: one small interface, one file for each kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganpipe.data.sources.base import Item, Source
from ganpipe.files import read_json, write_json
from ganpipe.params import DataParams

__all__ = [
    "FINGERPRINT",
    "Item",
    "Source",
    "make_source",
    "read_fingerprint",
    "refresh",
    "write_fingerprint",
]

FINGERPRINT = Path("data") / "source.json"


def make_source(params: DataParams) -> Source:
    """The source that the parameters name. Raises GanpipeError when its data are missing."""
    if params.source == "digits":
        from ganpipe.data.sources.digits import Digits

        return Digits()
    if params.source == "fashion-mnist":
        from ganpipe.data.sources.fashion_mnist import FashionMnist

        return FashionMnist(params.path)
    from ganpipe.data.sources.folder import Folder

    return Folder(params.path)


def refresh(params: DataParams, root: Path) -> dict[str, Any]:
    """Look at the source and write its fingerprint to data/source.json under `root`.

    DVC cannot see into a folder or bucket outside the repository; this file is what it tracks.
    Returns the fingerprint. Raises GanpipeError when the source is missing or empty.
    """
    fingerprint = make_source(params).fingerprint()
    write_fingerprint(fingerprint, root)
    return fingerprint


def write_fingerprint(fingerprint: dict[str, Any], root: Path) -> None:
    """Write data/source.json under `root`, unless it says the same already."""
    path = root / FINGERPRINT
    if not path.exists() or read_json(path) != fingerprint:
        write_json(path, fingerprint)


def read_fingerprint(root: Path) -> dict[str, Any] | None:
    """The fingerprint of the last refresh, or None when there was none."""
    path = root / FINGERPRINT
    fingerprint: dict[str, Any] | None = read_json(path) if path.exists() else None
    return fingerprint
