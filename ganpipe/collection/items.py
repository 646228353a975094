"""What `ganpipe gc` looks at, and the rule by which a thing goes or stays."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from ganpipe.errors import GanpipeError

# in the order in which they go: nothing goes before what needs it
KINDS = ("workspaces", "states", "versions", "runs", "models", "logs", "notes", "cache")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
DAYS = 86400.0


@dataclass(frozen=True)
class Rules:
    """What may go."""

    older_than: float = 30 * DAYS
    """Seconds since a thing was last written."""
    keep_last: int = 5
    """So many of the newest workspaces and runs, and versions of each model, stay."""
    kinds: frozenset[str] = frozenset(KINDS)
    allowed: frozenset[tuple[str, str]] | None = None
    """Nothing but these (kind, where) may go: those that were shown to somebody."""
    now: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Item:
    """One thing that goes or stays."""

    kind: str
    name: str
    where: str
    """A path, or MLflow's id: tells it from all others of its kind."""
    size: int | None
    """Bytes that are free when it is gone; None where only the server knows."""
    age: float
    """Seconds."""
    goes: bool
    why: str

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.where


def judged(
    kind: str,
    name: str,
    where: str,
    written: float,
    rules: Rules,
    *,
    size: int | None = None,
    needed: str = "",
    rank: int | None = None,
) -> Item:
    """An item of a thing that was last `written` (Unix seconds).

    `needed`: why it stays whatever its age. `rank`: 0 is the newest of those that are counted.
    """
    age = max(0.0, rules.now - written)
    item = Item(kind, name, where, size, age, goes=False, why=needed)
    if not needed:
        if kind not in rules.kinds:
            why = "not looked at"
        elif rank is not None and rank < rules.keep_last:
            why = f"one of the newest {rules.keep_last}"
        elif age < rules.older_than:
            why = f"younger than {duration(rules.older_than)}"
        elif rules.allowed is not None and item.key not in rules.allowed:
            why = "was not in the plan"
        else:
            return Item(kind, name, where, size, age, goes=True, why="nothing needs it")
        item = Item(kind, name, where, size, age, goes=False, why=why)
    return item


def left_over(kind: str, name: str, where: str, written: float, rules: Rules, size: int) -> Item:
    """An item of what a dead process left half-made or half-removed: it goes whatever its age."""
    goes = kind in rules.kinds and (rules.allowed is None or (kind, where) in rules.allowed)
    why = "left by a process that is gone" if goes else "not looked at"
    return Item(kind, name, where, size, max(0.0, rules.now - written), goes, why)


def seconds(text: str) -> float:
    """`30d`, `12h`, `90m`, `2w` or `0s` in seconds. Raises GanpipeError for what is neither."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if match is None:
        raise GanpipeError(f"--older-than {text}: write a number and a unit: 30d, 2w, 12h, 90m, 0s")
    return float(match[1]) * UNITS[match[2]]


def kinds(text: str) -> frozenset[str]:
    """A comma-separated choice; empty is every kind. Raises GanpipeError for an unknown one."""
    chosen = {part.strip() for part in text.split(",") if part.strip()}
    if unknown := chosen - set(KINDS):
        raise GanpipeError(
            f"--only {text}: there is no {', '.join(sorted(unknown))}; "
            f"choose from {', '.join(KINDS)}"
        )
    return frozenset(chosen or KINDS)


def duration(age: float) -> str:
    """Like `30 d` or `5 h`."""
    unit = next((unit for unit in "dhm" if age >= UNITS[unit]), "s")
    return f"{age / UNITS[unit]:.0f} {unit}"


def amount(size: float) -> str:
    """Like `1.2 GB`; decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def total(items: Collection[Item]) -> int:
    return sum(item.size or 0 for item in items)
