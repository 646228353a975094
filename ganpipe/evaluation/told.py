"""A score as people read it on a terminal, and as programs read it."""

from __future__ import annotations

from typing import Any

from ganpipe.evaluation.copying import Copying
from ganpipe.evaluation.score import Score
from ganpipe.evaluation.verdict import LIMITS


def lines(score: Score) -> list[str]:
    """One line for each measure, then what could not be measured, and what to mind."""
    width = max(len(row.name) for row in score.measures)
    told = []
    for row in score.measures:
        beside = [] if row.low is None else [f"95 %: {row.low:.4g} to {row.high:.4g}"]
        beside += [] if row.floor is None else [f"real images: {row.floor:.4g}"]
        near = f"  ({'; '.join(beside)})" if beside else ""
        told.append(f"{row.name:<{width}}  {row.value:>10.4g}  {row.means}{near}".rstrip())
    told += [f"not measured: {name}: {why}" for name, why in score.left_out.items()]
    if score.copying is not None:
        found = score.copying.verdict
        told += [f"memorisation: {found.opening}", *(f"  - {each}" for each in found.evidence)]
        told += [f"  {each}" for each in (*found.seen, LIMITS)]
    return told + [f"warning: {warning}" for warning in score.warnings]


def as_json(score: Score) -> dict[str, Any]:
    """Everything, for programs."""
    rows = score.measures
    return {
        "measures": {row.name: row.value for row in rows},
        "intervals": {row.name: [row.low, row.high] for row in rows if row.low is not None},
        "floors": {row.name: row.floor for row in rows if row.floor is not None},
        "protocol": score.protocol,
        "warnings": score.warnings,
        "left_out": score.left_out,
        "memorisation": None if score.copying is None else _memorisation(score.copying),
    }


def _memorisation(copying: Copying) -> dict[str, Any]:
    """The finding as a word, and everything that it rests on."""
    told = copying.verdict
    spaces = [each for each in (copying.features, copying.pixels) if each is not None]
    return {
        "finding": told.finding,
        "text": told.text,
        "evidence": told.evidence,
        "seen": told.seen,
        "limits": LIMITS,
        "numbers": copying.numbers,
        "detectable": {each.space: each.singled_out.detectable for each in spaces},
    }
