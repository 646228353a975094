"""What was edited on a Prefect server since ganpipe last wrote there, told from old defaults."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
MISSING = object()
PRINT = 8  # hexadecimal digits: a Prefect variable holds 5,000 characters


@dataclass(frozen=True)
class Edit:
    """A value on the server that is neither what ganpipe wants there nor what it last wrote."""

    key: str
    here: Any
    """What ganpipe wants; MISSING for what it would take away."""
    there: Any
    """What the server has; MISSING for what was taken away there."""


def merge(
    wanted: Values, there: Values, applied: Values, replace: bool = False
) -> tuple[dict[str, Any], list[Edit]]:
    """What to write: `wanted`, but for what differs on the server from what was last `applied`.

    Mappings are nested two deep, and the inner keys are compared one by one; `applied` holds
    `prints`. Edits win unless `replace`; they are listed either way. What the server has and nobody
    ever wrote (no key in `wanted` or `applied`) is an edit too.
    """
    here, server, before = (dict(_leaves(each)) for each in (wanted, there, applied))
    merged: dict[str, Any] = {}
    edits = []
    for path in [*here, *(path for path in server if path not in here)]:
        want, have = here.get(path, MISSING), server.get(path, MISSING)
        edited = have != want and _print(have) != before.get(path, MISSING)
        if edited:
            edits.append(Edit(".".join(path), want, have))
        value = have if edited and not replace else want
        if value is not MISSING:
            _put(merged, path, value)
    return merged, edits


def prints(values: Values) -> dict[str, Any]:
    """A fingerprint in place of each value: enough to tell an edit, however long the value is."""
    found: dict[str, Any] = {}
    for path, value in _leaves(values):
        _put(found, path, _print(value))
    return found


def _print(value: Any) -> Any:
    if value is MISSING:
        return MISSING
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a form writes 9 where a file says 9.0
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:PRINT]


def _leaves(values: Values) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from (((key, inner), each) for inner, each in value.items())
        else:
            yield (key,), value


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        values = values.setdefault(key, {})
    values[path[-1]] = value
