"""What a run took of its device: images per second, device hours, an estimate of energy."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import harmonic_mean

from ganpipe.files import read_json, write_json
from ganpipe.params import Params

SPENT = Path(".git") / "ganpipe-device-seconds.json"  # beside the run's note: see beginning.py


def device(params: Params, stage: str) -> str:
    """What a stage computes on, `cuda` or `cpu`; empty where it computes nothing to speak of."""
    return {"train": params.train.device, "evaluate": "cpu"}.get(stage, "")


def devices(params: Params, stage: str) -> int:
    """How many of these a stage computes on, here: a slot stands for each."""
    return params.train.devices if device(params, stage) == "cuda" else 1


def spend(workspace: Path, params: Params, stage: str, seconds: float) -> None:
    """Note the device seconds of a stage, beside those of the run's earlier attempts."""
    kind = device(params, stage)
    if not kind:
        return
    count = devices(params, stage) * (params.train.nodes if kind == "cuda" else 1)
    spent = _spent(workspace)
    spent[kind] = spent.get(kind, 0.0) + seconds * count
    write_json(workspace / SPENT, spent)


def facts(workspace: Path, params: Params, speed: Path | None) -> dict[str, str]:
    """Rows of the report; `speed`: the speed.jsonl of a training that was no cached one."""
    found = {}
    if speed is not None and (rate := images_per_second(speed)) is not None:
        found["images/s in training"] = f"{rate:,.0f}"
    hours = {kind: seconds / 3600 for kind, seconds in _spent(workspace).items()}
    if hours:
        told = ", ".join(f"{value:.3g} ({kind})" for kind, value in sorted(hours.items()))
        found["device hours"] = told
    if (drew := hours.get(params.train.device, 0.0) * params.compute.watts / 1000) > 0.0:
        found["energy, estimated"] = f"{drew:.3g} kWh at {params.compute.watts:g} W"
    return found


def images_per_second(speed: Path) -> float | None:
    """Of all ticks in a speed.jsonl, which are of one length; None where there is none."""
    if not speed.is_file():
        return None
    lines = speed.read_text(encoding="utf-8").splitlines(keepends=True)
    rates = [json.loads(line)["images_per_second"] for line in lines if line.endswith("\n")]
    return harmonic_mean(rates) if rates and min(rates) > 0.0 else None


def _spent(workspace: Path) -> dict[str, float]:
    path = workspace / SPENT
    found: dict[str, float] = read_json(path) if path.is_file() else {}
    return found
