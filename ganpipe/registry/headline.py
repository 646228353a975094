"""The headline of an evaluation: what a version's tags and descriptions tell people."""

from __future__ import annotations

import json
from typing import Any


def to_tags(metrics: dict[str, Any]) -> dict[str, str]:
    metric = metrics["protocol"]["metric"]
    return {
        "ganpipe.metric": metric,
        "ganpipe.value": repr(float(metrics[metric])),
        "ganpipe.floor": repr(float(metrics[f"floor_{metric}"])),
        "ganpipe.protocol": json.dumps(metrics["protocol"], sort_keys=True),
    }


def describe(metrics: dict[str, Any]) -> str:
    """Like `fid_lite0_898 4.55 (real against real 2.44)`."""
    metric = metrics["protocol"]["metric"]
    floor = float(metrics[f"floor_{metric}"])
    return f"{metric} {float(metrics[metric]):.4g} (real against real {floor:.4g})"
