"""What a run took of its device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flows import cost
from flows.stage import STAGES
from ganpipe.params import Params, override


def workspace(folder: Path) -> Path:
    (folder / ".git").mkdir()
    return folder


def test_device_hours_and_energy_are_those_of_all_attempts_and_devices(tmp_path: Path) -> None:
    values = ["compute.watts=400", "train.devices=2", "train.device=cuda"]
    params, place = override(Params(), values), workspace(tmp_path)
    for seconds in (1800.0, 900.0):
        cost.spend(place, params, "train", seconds)
    cost.spend(place, params, "evaluate", 360.0)
    cost.spend(place, params, "ingest", 5000.0)  # no device works on it
    found = cost.facts(place, params, None)
    assert found["device hours"] == "0.1 (cpu), 1.5 (cuda)"
    assert found["energy, estimated"] == "0.6 kWh at 400 W"


def test_a_stage_takes_a_slot_for_each_device_that_it_computes_on() -> None:
    params = override(Params(), ["train.device=cuda", "train.devices=4", "train.batch=64"])
    found = {stage: (cost.device(params, stage), cost.devices(params, stage)) for stage in STAGES}
    assert found.pop("train") == ("cuda", 4)
    assert found.pop("evaluate") == ("cpu", 1)
    assert {device for device, _ in found.values()} == {""}


def test_without_watts_there_is_no_estimate_and_a_cached_run_took_nothing(tmp_path: Path) -> None:
    params = override(Params(), ["train.device=cpu"])
    place = workspace(tmp_path)
    assert cost.facts(place, params, None) == {}
    cost.spend(place, params, "train", 3600.0)
    assert cost.facts(place, params, None) == {"device hours": "1 (cpu)"}


def test_the_rate_is_images_by_time_and_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "speed.jsonl"
    assert cost.images_per_second(path) is None
    lines = [
        json.dumps({"images": n, "images_per_second": rate}) for n, rate in ((1, 100), (2, 300))
    ]
    path.write_text("\n".join([*lines, '{"images": 3, "ima']), encoding="utf-8")
    # as many images at 100 a second as at 300: 150 a second
    assert cost.images_per_second(path) == pytest.approx(150.0)
