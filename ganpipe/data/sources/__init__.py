"""Where images come from: one small interface, one file for each kind of source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_never

from ganpipe.data.sources.base import Entry, Source
from ganpipe.files import read_json, write_json
from ganpipe.params import DataParams

__all__ = [
    "FINGERPRINT",
    "Entry",
    "Source",
    "make_source",
    "read_fingerprint",
    "refresh",
    "write_fingerprint",
]

FINGERPRINT = Path("data") / "source.json"


def make_source(params: DataParams) -> Source:
    """The source that the parameters name. Raises GanpipeError when its data are missing."""
    # imported where they are used: a source costs only its own libraries
    match params.source:
        case "digits":
            from ganpipe.data.sources.digits import Digits

            return Digits()
        case "fashion-mnist":
            from ganpipe.data.sources.fashion_mnist import FashionMnist

            return FashionMnist(params.path)
        case "mnist":
            from ganpipe.data.sources.mnist import Mnist

            return Mnist(params.path)
        case "cifar10":
            from ganpipe.data.sources.cifar10 import Cifar10

            return Cifar10(params.path)
        case "celeba":
            from ganpipe.data.sources.celeba import Celeba

            return Celeba(params.path)
        case "folder":
            if "://" in params.path and not params.path.startswith("file://"):
                from ganpipe.data.sources.remote import Remote

                return Remote(params.path, params.labels)
            from ganpipe.data.sources.folder import Folder

            return Folder(params.path, params.labels)
        case "archive":
            from ganpipe.data.sources.archive import Archive

            return Archive(params.path, params.labels)
        case "idx":
            from ganpipe.data.sources.idx import Idx

            return Idx(params.path)
        case "npz":
            from ganpipe.data.sources.npz import Npz

            return Npz(params.path)
        case "parquet":
            from ganpipe.data.sources.parquet import Parquet

            return Parquet(params.path)
        case unknown:
            assert_never(unknown)


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
