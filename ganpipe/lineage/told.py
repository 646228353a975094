"""A comparison of two versions as people read it: lines for a terminal, a page with pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganpipe.data.words import plural, shown
from ganpipe.evaluation.report.numbers import NOTHING, number

PAGE = "difference.html"


def lines(found: Mapping[str, Any]) -> list[str]:
    """What `difference.difference` found, for a terminal."""
    one, two = found["names"]
    return [
        f"{one} -> {two}",
        *_section("parameters", _pairs(found["params"])),
        *_section("data", _data(found["data"])),
        *_section("code", _code(found["code"])),
        *_section("environment", _pairs(found["environment"])),
        *_section("packages", _pairs(found["requirements"])),
        *_section("measures", _measures(found)),
    ]


def page(found: Mapping[str, Any], png: bytes, caption: str) -> str:
    """The same as one HTML file that asks for nothing from outside, with the pictures in it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"shown": shown, "number": number}
    picture = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return environment.get_template(PAGE).render(found=found, picture=picture, caption=caption)


def _section(title: str, rows: Iterator[str]) -> list[str]:
    told = list(rows)
    return [f"{title}: the same"] if not told else [f"{title}:", *(f"  {row}" for row in told)]


def _pairs(changes: Mapping[str, Any]) -> Iterator[str]:
    for key, (one, two) in changes.items():
        yield f"{key}: {_value(one)} -> {_value(two)}"


def _value(value: Any) -> str:
    return NOTHING if value is None else shown(str(value))


def _data(data: Mapping[str, Any]) -> Iterator[str]:
    if data["same"]:
        return
    yield from _pairs({key: values for key, values in data["source"].items() if key != "digest"})
    one, two = data["count"]
    yield f"{_value(one)} -> {_value(two)} images{_moved(data['added'], data['removed'])}"
    for name, (before, after, added, removed) in data["classes"].items():
        if before != after or added or removed:
            yield f"{shown(name) or 'no class'}: {before} -> {after}{_moved(added, removed)}"
    for side, (before, after) in data["digests"].items():
        if before != after:
            yield f"{side}: sha256 {before[:12]} -> {after[:12]}"
    if data["not_known"]:
        yield f"which images were added and removed is not known: {data['not_known']}"


def _moved(added: int | None, removed: int | None) -> str:
    return "" if added is None or removed is None else f" (+{added}, -{removed})"


def _code(code: Mapping[str, Any]) -> Iterator[str]:
    if code["same"]:
        return
    yield " -> ".join(each or "unknown" for each in code["commits"])
    if code["absent"]:
        yield f"{plural(len(code['absent']), 'commit')} not in this repository: fetch to see more"
    yield from code["stat"].splitlines()


def _measures(found: Mapping[str, Any]) -> Iterator[str]:
    if found["not_compared"]:
        yield found["not_compared"]
    width = max((len(row["name"]) for row in found["measures"]), default=0)
    for row in found["measures"]:
        values = " -> ".join(_measured(*row[side]) for side in ("one", "two"))
        told = f"{row['name']:<{width}}  {values}  {row['amount']} {row['verdict']}"
        yield told.rstrip()


def _measured(value: float | None, low: float | None, high: float | None) -> str:
    within = "" if low is None else f" ({number(low)} to {number(high)})"
    return f"{number(value)}{within}"
