"""A plan for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from ganpipe.collection.collect import Plan
from ganpipe.collection.items import Item, amount, duration, total

CALLED = {"cache": "files of DVC's cache", "versions": "versions and their files"}


def as_json(plan: Plan) -> str:
    values = {
        "refused": plan.refused,
        "bytes": total(plan.going),
        "going": [asdict(item) for item in plan.items if item.goes],
        "staying": [asdict(item) for item in plan.items if not item.goes],
        "pins": plan.pins,
    }
    return json.dumps(values, indent=2)


def show(plan: Plan) -> None:
    """Print a table of what goes and what stays; a cache's files are counted, not listed."""
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "what", "size", "age", "", "why", box=None, pad_edge=False)
    table.columns[2].justify = table.columns[3].justify = "right"
    table.columns[1].overflow = table.columns[5].overflow = "fold"
    for kind, name, size, age, goes, why in _rows(plan.items):
        table.add_row(kind, name, size, age, "goes" if goes else "stays", why)
    console = Console(markup=False, highlight=False)
    console.print(table)
    if plan.refused:
        console.print(f"nothing of DVC's cache goes: {plan.refused}")
    pins = f", and {len(plan.pins)} commits' refs" if plan.pins else ""
    console.print(f"to delete: {summary(plan.going)}{pins}")


def _rows(items: Sequence[Item]) -> list[tuple[str, str, str, str, bool, str]]:
    rows = []
    for item in items:
        if item.kind != "cache":
            size = "?" if item.size is None else amount(item.size)
            rows.append((item.kind, item.name, size, duration(item.age), item.goes, item.why))
    entries = sorted((each for each in items if each.kind == "cache"), key=_verdict)
    for (goes, why), group in groupby(entries, _verdict):
        found = list(group)
        age = duration(max(item.age for item in found))
        rows.append(("cache", f"{len(found):,} files", amount(total(found)), age, goes, why))
    return rows


def _verdict(item: Item) -> tuple[bool, str]:
    return item.goes, item.why


def summary(items: Sequence[Item]) -> str:
    """Like `1,204 files of DVC's cache, 2 runs; 1.3 GB`."""
    if not items:
        return "nothing"
    kinds = sorted({item.kind for item in items})
    counts = [
        f"{sum(each.kind == kind for each in items):,} {CALLED.get(kind, kind)}" for kind in kinds
    ]
    return f"{', '.join(counts)}; {amount(total(items))}"
