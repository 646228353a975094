"""What a sweep tries: every combination once, or what a study chooses, the same after a kill."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from ganpipe.errors import GanpipeError
from ganpipe.params import Params
from ganpipe.params.sweep import SweepParams
from ganpipe.sweeping import Point, applied, point

RANGES = {
    "train.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "train.batch": {"low": 8, "high": 64},
    "model.architecture": ["dcgan", "resnet"],
}


def tries(asked: SweepParams, distance: Any) -> list[tuple[Point, float | None]]:
    before: list[tuple[Point, float | None]] = []
    for _ in range(asked.count):
        tried = point(asked, before)
        before.append((tried, distance(tried)))
    return before


def test_a_grid_is_every_combination_once_the_first_key_of_the_alphabet_first() -> None:
    asked = SweepParams.model_validate(
        {"over": {"train.lr": [1e-3, 2e-3], "model.width": [16, 32]}}
    )
    assert [tried for tried, _ in tries(asked, lambda _: None)] == [
        {"train.lr": 1e-3, "model.width": 16},
        {"train.lr": 1e-3, "model.width": 32},
        {"train.lr": 2e-3, "model.width": 16},
        {"train.lr": 2e-3, "model.width": 32},
    ]


@pytest.mark.parametrize("trials", [0, 6])
def test_a_number_stands_for_the_same_in_whichever_order_the_keys_are_written(trials: int) -> None:
    over = {"train.lr": [1e-3, 2e-3], "model.width": [16, 32, 48], "train.batch": [8, 16]}
    found = [
        tries(SweepParams.model_validate({"over": each, "trials": trials}), lambda _: 1.0)
        for each in (over, dict(reversed(over.items())), dict(sorted(over.items())))
    ]
    assert found[0] == found[1] == found[2]


def test_a_study_stays_within_its_ranges_and_types() -> None:
    asked = SweepParams.model_validate({"over": RANGES, "trials": 30})
    found = [tried for tried, _ in tries(asked, lambda tried: tried["train.lr"])]
    assert all(1e-4 <= tried["train.lr"] <= 1e-2 for tried in found)
    assert all(type(t["train.batch"]) is int and 8 <= t["train.batch"] <= 64 for t in found)
    assert {tried["model.architecture"] for tried in found} == {"dcgan", "resnet"}
    magnitudes = [math.log10(tried["train.lr"]) for tried in found]
    assert any(each < -3 for each in magnitudes)


def test_a_study_learns_from_distances_and_from_failures() -> None:
    asked = SweepParams.model_validate({"over": {"train.lr": RANGES["train.lr"]}, "trials": 40})

    def distance(tried: Point) -> float | None:
        return None if tried["train.lr"] > 5e-3 else abs(math.log10(tried["train.lr"]) + 3.5)

    found = [value for _, value in tries(asked, distance)]
    early, late = ([v for v in part if v is not None] for part in (found[:10], found[20:]))
    assert sum(late) / len(late) < 0.7 * sum(early) / len(early)
    assert len(late) >= 18, "what failed is not tried again and again"


def test_a_study_goes_on_after_a_kill_as_if_there_had_been_none() -> None:
    asked = SweepParams.model_validate({"over": RANGES, "trials": 12, "seed": 3})
    whole = tries(asked, lambda tried: tried["train.lr"])
    for killed_at in (0, 1, 7, 11):
        assert point(asked, whole[:killed_at]) == whole[killed_at][0]
    other = asked.model_copy(update={"seed": 4})
    assert point(other, []) != whole[0][0]
    assert len({str(tried) for tried, _ in whole}) == 12


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"over": {"train.lrr": [1]}}, r"train.lrr is not a parameter: did you mean train.lr\?"),
        ({"over": {"data.resolution": [16]}}, "data.resolution cannot be varied"),
        ({"over": {"evaluate.samples": [16]}}, "evaluate.samples cannot be varied"),
        ({"over": {"train.lr": [0]}}, "train.lr=0 is not allowed: input should be greater than 0"),
        ({"over": {"train.lr": []}}, "train.lr has no value"),
        ({"over": {"train.loss": ["best"]}}, "train.loss=best is not allowed: input should be"),
        ({"over": {"train.lr": {"low": 0.1, "high": 0.2}}}, "set trials to the number"),
        ({"over": {"train.lr": {"low": 0.2, "high": 0.1}}, "trials": 3}, "low must be below high"),
        ({"over": {"train.eps": {"low": -1, "high": 1}}, "trials": 3}, "eps=-1.0 is not allowed"),
        ({"over": {"train.r1": {"low": 0, "high": 1, "log": True}}, "trials": 3}, "above 0"),
        ({"over": {"train.batch": {"low": 1.5, "high": 8}}, "trials": 3}, "batch=1.5 is not"),
        ({"over": {"train.compile": {"low": 0, "high": 1}}, "trials": 3}, "no number"),
        ({"over": {}}, "at least 1 item"),
        ({"over": {"train.seed": list(range(1001))}}, "1,001 combinations are more than 1,000"),
        ({"over": {"train.lr": {"low": 0.1, "hihg": 0.2}}, "trials": 3}, "hihg"),
        ({"overrides": ["train.kimg"]}, "String should match pattern"),
    ],
)
def test_what_cannot_be_tried_is_refused_and_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        SweepParams.model_validate(given)


def test_values_that_do_not_go_together_are_named() -> None:
    told = "train.augment=diffaugment: train.augment=diffaugment does nothing with"
    with pytest.raises(GanpipeError, match=told):
        applied(Params(), {"train.augment": "diffaugment"})
    both = {"train.augment": "diffaugment", "train.augment_strength": 0.5}
    assert applied(Params(), both).train.augment_strength == 0.5


def test_the_form_begins_with_something_that_can_be_tried() -> None:
    assert SweepParams().count == 3
    assert applied(Params(), point(SweepParams(), [])) != Params()
