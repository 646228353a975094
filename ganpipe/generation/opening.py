"""What a destination holds already: nothing, the same images, a part of them, or something else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from ganpipe.errors import GanpipeError
from ganpipe.generation.place import DESCRIPTION, UNFINISHED, Place
from ganpipe.generation.request import Request

REQUEST = "request.json"
OWN_FILES = re.compile(
    r"\d{5,}\.png|grid\.png|images-\d{5,}\.(npy|parquet)|labels\.npy|(dataset|generation)\.json"
    rf"|metadata\.jsonl|{re.escape(UNFINISHED)}/.*"
)


def own_folder(state: Path, request: Request, identity: dict[str, Any]) -> str:
    """A destination that only this request has."""
    name = request.version.removeprefix("models:/").replace("/", "-") or request.folder.name
    asked = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return str(state / "samples" / f"{name}-{request.params.n}-{asked[:12]}")


def note_name(number: int) -> str:
    """The note on a part."""
    return f"part-{number:05d}.json"


def already(place: Place, identity: dict[str, Any], *, replace: bool) -> dict[str, Any] | None:
    """The description of the same images where they all lie there; None where work is to be done.

    Raises GanpipeError for other files, and, unless `replace`, for images of another request.
    """
    files = place.finished()
    found = place.description()
    ours = found is not None or f"{UNFINISHED}/{REQUEST}" in files
    if foreign := sorted(name for name in files if not ours or not OWN_FILES.fullmatch(name)):
        raise GanpipeError(
            f"{place.shown} holds other files ({', '.join(foreign[:3])}): name a new or empty "
            "place with --out"
        )
    if found is None:
        return None
    if other := _difference(found.get("request", {}), identity):
        if replace or place.noted(REQUEST) == identity:
            return None
        raise GanpipeError(
            f"{place.shown} holds images of another request ({other}): name another place with "
            "--out, or replace them with --replace"
        )
    written = {
        name: size
        for name, size in files.items()
        if name != DESCRIPTION and not name.startswith(f"{UNFINISHED}/")
    }
    if (len(written), sum(written.values())) != (found["files"], found["bytes"]):
        if replace:
            return None
        raise GanpipeError(
            f"{place.shown} has changed since its images were made ({len(written)} files of "
            f"{sum(written.values()):,} bytes, there were {found['files']} of {found['bytes']:,}): "
            "make them anew with --replace, or name another place with --out"
        )
    place.publish()  # a kill may have left notes there
    described: dict[str, Any] = found
    return described


def begin(place: Place, identity: dict[str, Any], *, replace: bool) -> list[str]:
    """Make a place ready to write to; returns the names of the notes on parts that are whole.

    What no note speaks of goes. Raises GanpipeError, unless `replace`, where the work of another
    request has begun.
    """
    noted = place.noted(REQUEST)
    if noted is not None and (other := _difference(noted, identity)):
        if not replace:
            raise GanpipeError(
                f"{place.shown} was begun for another request ({other}): finish that one, name "
                "another place with --out, or begin anew with --replace"
            )
        noted = None
    kept: list[str] = [] if noted is None else _whole(place, place.begun())
    if noted is None:
        place.remove(name for name in place.begun() if name.startswith(f"{UNFINISHED}/part-"))
        # before the old files go, so that a kill leaves a place that is known to be ours
        place.note(REQUEST, identity)
    known = {f"{UNFINISHED}/{name}" for name in [REQUEST, *kept]}
    for name in kept:
        known |= set(place.noted(name)["files"])
    place.remove(sorted(place.begun().keys() - known, key=lambda name: name != DESCRIPTION))
    return kept


def _whole(place: Place, files: dict[str, int]) -> list[str]:
    """Notes on the first parts, as far as their files lie there with all their bytes."""
    kept: list[str] = []
    while f"{UNFINISHED}/{note_name(len(kept))}" in files:
        note = place.noted(note_name(len(kept)))
        if any(files.get(name) != size for name, (size, _) in note["files"].items()):
            break
        kept.append(note_name(len(kept)))
    return kept


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """What differs between two requests, as `n=10 there, 20 asked for`; empty for the same."""
    return "; ".join(
        f"{key}={_short(theirs.get(key))} there, {_short(ours.get(key))} asked for"
        for key in sorted(theirs.keys() | ours.keys())
        if theirs.get(key) != ours.get(key)
    )


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
