"""The JSON file beside a state's tensors, under a seal: no bit of it changes unnoticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ganpipe.files import write_json

SEAL = "seal"


def write(path: Path, values: dict[str, Any]) -> None:
    """Write the values, and the sha256 of them all as the last."""
    write_json(path, values | {SEAL: _seal(values)})


def read(path: Path) -> dict[str, Any] | None:
    """The values with their seal, or None when the file is missing, torn or damaged."""
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        return None


def parse(content: bytes) -> dict[str, Any] | None:
    """The values that a file's bytes hold, or None when any of these was changed."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    if not isinstance(found, dict) or SEAL not in found or not is_sealed(found):
        return None
    # what JSON reads alike is still another file, and a state's file may become an output
    return found if content == f"{json.dumps(found, indent=2)}\n".encode() else None


def is_sealed(found: dict[str, Any]) -> bool:
    """Whether the values are those that were sealed; so are those of a time without seals."""
    rest = {name: value for name, value in found.items() if name != SEAL}
    return SEAL not in found or found[SEAL] == _seal(rest)


def _seal(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
