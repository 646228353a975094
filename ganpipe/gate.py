"""The gate between candidate and champion, and the measures that a version carries as tags."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Decision:
    """What the gate says of a candidate."""

    passed: bool
    reason: str
    numbers: dict[str, float] = field(default_factory=dict)
    """What was compared: candidate, champion, threshold (lower is better)."""


def gate(
    candidate: dict[str, Any], champion: dict[str, Any] | None, margin: float = 0.0
) -> Decision:
    """Whether a candidate may become champion, from both contents of metrics.json.

    It must undercut the champion's distance by `margin` (a share: 0.02 is 2 %), measured by the
    same protocol in every field: numbers of different protocols are never compared.
    """
    metric = candidate["protocol"]["metric"]
    value = float(candidate[metric])
    if not math.isfinite(value):
        return Decision(False, f"{metric} is {value}", {"candidate": value})
    if champion is None:
        return Decision(
            True, "the first version: there was no champion to beat", {"candidate": value}
        )
    ours, theirs = candidate["protocol"], champion["protocol"]
    different = sorted(
        key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)
    )
    if different:
        pairs = [f"{key} {theirs.get(key)!r} v {ours.get(key)!r}" for key in different]
        return Decision(
            False,
            f"measured by another protocol than the champion ({'; '.join(pairs)})",
            {"candidate": value},
        )
    best = float(champion[metric])
    threshold = best - margin * abs(best) if math.isfinite(best) else math.inf
    numbers = {"candidate": value, "champion": best, "threshold": threshold}
    asked = f"{best:.4g}" if margin == 0 else f"{best:.4g} less {margin:.1%}"
    if value < threshold:
        return Decision(True, f"{metric} {value:.4g} beats the champion's {asked}", numbers)
    return Decision(False, f"{metric} {value:.4g} does not beat the champion's {asked}", numbers)


def to_tags(metrics: dict[str, Any]) -> dict[str, str]:
    metric = metrics["protocol"]["metric"]
    return {
        "ganpipe.metric": metric,
        "ganpipe.value": repr(float(metrics[metric])),
        "ganpipe.floor": repr(float(metrics[f"floor_{metric}"])),
        "ganpipe.protocol": json.dumps(metrics["protocol"], sort_keys=True),
    }


def from_tags(tags: dict[str, str]) -> dict[str, Any] | None:
    """What `to_tags` wrote, or None for a version that was registered by other means."""
    if not {"ganpipe.metric", "ganpipe.value", "ganpipe.protocol"} <= tags.keys():
        return None
    return {
        "protocol": json.loads(tags["ganpipe.protocol"]),
        tags["ganpipe.metric"]: float(tags["ganpipe.value"]),
    }


def describe(metrics: dict[str, Any]) -> str:
    metric = metrics["protocol"]["metric"]
    floor = float(metrics[f"floor_{metric}"])
    return f"{metric} {float(metrics[metric]):.4g} (real against real {floor:.4g})"
