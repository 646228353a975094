"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def sha256(path: Path | str) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Force a file's or a folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, kind: str = "partial") -> Path:
    """A free name beside `path`, after clearing away what killed processes left there."""
    for left in path.parent.glob(f".{path.name}.*.partial"):
        pid = left.name.removesuffix(".partial").rsplit(".", 1)[-1]
        if pid == str(os.getpid()) or not Path(f"/proc/{pid}").exists():
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
    return path.with_name(f".{path.name}.{kind}.{os.getpid()}.partial")


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A path to write beside; renamed to `path` when the block ends, removed when it fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(path)
    try:
        yield beside
        sync(beside)
        beside.replace(path)
        sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Like `replacing`, for a whole folder; an existing one is replaced when the block ends."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside, old = _beside(path), _beside(path, "old")
    beside.mkdir()
    try:
        yield beside
        for child in sorted(beside.rglob("*")):
            sync(child)
        if path.exists():
            path.rename(old)
        beside.rename(path)
        sync(path.parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path | str, value: Any) -> None:
    """Write indented JSON with a trailing newline, atomically; keys keep their order."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path | str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
