"""Ready-made parameters: YAML files with a comment on where they come from.

A preset names the keys that make it what it is; the others keep what they have where it is laid
over params.yaml, and the schema's defaults where nothing is.
"""

from __future__ import annotations

import difflib
from importlib.resources import files
from typing import Any

import yaml

from ganpipe import params
from ganpipe.errors import GanpipeError
from ganpipe.params import Params

_SUFFIX = ".yaml"


def names() -> list[str]:
    """The names of all presets, sorted."""
    found = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))


def text(name: str) -> str:
    """A preset's file with its comments. Raises GanpipeError that lists the presets."""
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        guess = f"did you mean {close[0]}? " if close else ""
        raise GanpipeError(f"{name!r} is not a preset: {guess}known: {', '.join(known)}")
    return files(__name__).joinpath(name + _SUFFIX).read_text(encoding="utf-8")


def about(name: str) -> str:
    """What a preset is for: the first line of its comment."""
    return text(name).partition("\n")[0].removeprefix("#").strip()


def keys(name: str) -> dict[str, dict[str, Any]]:
    """What a preset sets: section to key to value, as the file spells them."""
    values: dict[str, dict[str, Any]] = yaml.safe_load(text(name))
    return values


def load(name: str) -> Params:
    """A preset over the schema's defaults."""
    return lay_over(Params(), name)


def lay_over(chosen: Params, name: str) -> Params:
    """Parameters in which a preset's keys have its values.

    Raises GanpipeError for an unknown preset, or where it does not fit the other parameters.
    """
    values = chosen.dump()
    for section, pairs in keys(name).items():
        values[section] = {**values.get(section, {}), **pairs}
    return params.validate(values, source=f"preset {name}")


def explain(before: Params, name: str) -> list[str]:
    """What laying a preset over parameters does, in lines for a terminal.

    Names the keys of model and train that were changed in `before` and that the preset leaves
    alone: with them a run is another than the preset's.
    """
    named = keys(name)
    count = sum(map(len, named.values()))
    lines = [f"preset    {name}: {count} keys laid over {params.PARAMS_FILE}, below --set"]
    found, defaults = before.dump(), Params().dump()
    kept = [
        f"{section}.{key}={value}"
        for section in ("model", "train")
        for key, value in found[section].items()
        if value != defaults[section][key] and key not in named.get(section, {})
    ]
    if kept:
        lines.append(f"          {params.PARAMS_FILE} keeps {' '.join(kept)}")
    return lines


def listing() -> str:
    """All presets, a line each."""
    known = names()
    width = max(map(len, known))
    return "".join(f"{name:<{width}}  {about(name)}\n" for name in known)
