"""A score as people read it on a terminal, and as programs read it."""

from __future__ import annotations

from typing import Any

from ganpipe.evaluation.score import Score


def lines(score: Score) -> list[str]:
    """One line for each measure, then what could not be measured, and what to mind."""
    width = max(len(row.name) for row in score.measures)
    told = []
    for row in score.measures:
        interval = "" if row.low is None else f" ({row.low:.4g} to {row.high:.4g})"
        told.append(f"{row.name:<{width}}  {row.value:>10.4g}{interval}  {row.means}".rstrip())
    told += [f"not measured: {name}: {why}" for name, why in score.left_out.items()]
    if score.verdict:
        told.append(score.verdict)
    return told + [f"warning: {warning}" for warning in score.warnings]


def as_json(score: Score) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "measures": {row.name: row.value for row in score.measures},
        "intervals": {
            row.name: [row.low, row.high] for row in score.measures if row.low is not None
        },
        "protocol": score.protocol,
        "warnings": score.warnings,
        "left_out": score.left_out,
        "memorisation": score.verdict,
    }
