"""The gate lets nothing pass that is worse, unclear, collapsed, copied or not comparable."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganpipe.errors import GanpipeError
from ganpipe.params import Params, RegisterParams, override, to_yaml, validate
from ganpipe.registry.evaluations import Evaluation
from ganpipe.registry.gate import Decision, gate
from tests.registry.shelf import NOTHING_FOUND, told

NAMES = ("2", "1")


def evaluation(value: float = 20.0, *ends: Any, **more: Any) -> Evaluation:
    found = told(value, *ends, **more)
    rows = tuple(found["measures"])
    return Evaluation(found["protocol"], "0" * 64, rows, found["memorisation"], "file:///report")


def better(ours: Evaluation, theirs: Evaluation | None, margin: float = 0.0) -> Decision:
    return gate(ours, theirs, ["better"], margin, NAMES)


@pytest.mark.parametrize(
    ("candidate", "champion", "margin", "passed"),
    [
        (20.0, 21.0, 0.0, True),
        (20.0, 20.0, 0.0, False),
        (20.0, 21.0, 0.1, False),
        (18.9, 21.0, 0.1, False),  # exactly the margin is not more than it
        (18.8, 21.0, 0.1, True),
        (math.nan, 21.0, 0.0, False),
        (math.inf, 21.0, 0.0, False),
        (20.0, math.nan, 0.0, True),
        (-0.1, 0.0, 0.5, True),
    ],
)
def test_a_candidate_must_beat_the_champion_by_more_than_the_margin(
    candidate: float, champion: float, margin: float, passed: bool
) -> None:
    found = better(evaluation(candidate), evaluation(champion), margin)
    assert found.passed is passed
    assert "fid_lite0_1k" in found.reason


@pytest.mark.parametrize(
    ("ours", "theirs", "passed"),
    [
        ((20.0, 19.5, 20.5), (21.0, 20.5, 21.5), True),  # 1 apart, together they reach 0.71
        ((20.4, 19.9, 20.9), (21.0, 20.5, 21.5), False),  # 0.6 apart
        ((20.4, 19.9, 20.9), (21.0, None, None), True),
        ((20.4, None, None), (21.0, None, None), True),
        ((20.0, 19.0, 21.0), (21.0, None, None), False),  # on the end of the interval
    ],
)
def test_a_difference_within_both_intervals_is_none(
    ours: tuple[float, float | None, float | None],
    theirs: tuple[float, float | None, float | None],
    passed: bool,
) -> None:
    found = better(evaluation(*ours), evaluation(*theirs))
    assert found.passed is passed
    assert ("no clear difference" in found.reason) is not passed
    assert ("no interval is known" in found.reason) is (ours[1] is None)


def test_the_gate_and_the_report_agree_on_what_is_better() -> None:
    from ganpipe.evaluation.report import Measure
    from ganpipe.evaluation.report.numbers import difference

    for change, reach in itertools.product((-2.0, -1.0, -0.5, 0.0, 1.0), (0.1, 0.5, 1.0, 3.0)):
        value = 10 + change
        shown = difference(
            Measure("fid", value, "lower", "", value - reach, value + reach, None, 10, 9.5, 10.5)
        )
        assert shown is not None
        ours, theirs = evaluation(value, low=value - reach, high=value + reach), evaluation(10)
        theirs.measures[0].update(low=9.5, high=10.5)
        assert better(ours, theirs).passed is (shown.verdict == "better")


@given(st.floats(1, 100), st.floats(1, 100), st.floats(0, 1))
def test_of_two_versions_at_most_one_beats_the_other(one: float, two: float, margin: float) -> None:
    first, second = evaluation(one), evaluation(two)
    assert not (better(first, second, margin).passed and better(second, first, margin).passed)
    assert not better(first, first, margin).passed


@pytest.mark.parametrize("change", [{"reference_sha256": "cd"}, {"samples": 500}, {"more": 1}])
def test_numbers_of_different_protocols_are_never_compared(change: dict[str, Any]) -> None:
    found = better(evaluation(1.0), evaluation(100.0, **change))
    assert not found.passed
    assert next(iter(change)) in found.reason
    assert "`ganpipe evaluate 1 --like 2`" in found.reason


def test_a_champion_without_numbers_is_not_beaten() -> None:
    found = better(evaluation(1.0), None)
    assert not found.passed
    assert "champion version 1 carries no evaluation" in found.reason


def test_the_first_version_has_to_be_finite_and_hold_the_floors() -> None:
    rules = RegisterParams().gate
    first = gate(evaluation(300.0), None, rules, 0.0, ("1", ""))
    assert first.passed
    assert first.reason == "the first version: there was no champion to beat"
    assert not gate(evaluation(math.inf), None, rules, 0.0, ("1", "")).passed
    assert not gate(evaluation(3.0, recall=0.0), None, rules, 0.0, ("1", "")).passed


@pytest.mark.parametrize(
    ("rule", "passed", "reason"),
    [
        ("recall >= 0.6", True, "recall_lite0_1k is 0.6, as asked"),
        ("recall > 0.6", False, "recall_lite0_1k is 0.6, not > 0.6"),
        ("recall_lite0_1k >= 0.5", True, "recall_lite0_1k is 0.6"),
        ("coverage <= 0.8", True, "coverage_lite0_1k is 0.8"),
        ("fid < 30", True, "fid_lite0_1k is 20"),
        ("samples >= 1000", True, "samples is 1000"),
        ("samples >= 1001", False, "samples is 1000, not >= 1001"),
        ("density >= 0.5", False, "density was not measured, so density >= 0.5 cannot be judged"),
    ],
)
def test_a_bound_names_a_measure_and_tells_its_value(rule: str, passed: bool, reason: str) -> None:
    found = gate(evaluation(), None, [rule])
    assert found.passed is passed
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("sign", [">=", "<=", ">", "<"])
def test_what_is_not_a_number_meets_no_bound(sign: str) -> None:
    assert not gate(evaluation(recall=math.nan), None, [f"recall {sign} 0.5"]).passed


@pytest.mark.parametrize(
    ("finding", "passed"),
    [
        ("nothing found", True),
        ("suspicious", True),
        ("copies", False),
        ("too few images", False),
        ("something new", False),
    ],
)
def test_copies_and_what_could_not_be_looked_for_do_not_pass(finding: str, passed: bool) -> None:
    verdict = {**NOTHING_FOUND, "finding": finding, "evidence": ["3 equal a training image"]}
    found = gate(evaluation(memorisation=verdict), None, ["no memorisation"])
    assert found.passed is passed
    assert finding in found.reason
    assert "3 equal a training image" in found.reason
    unseen = gate(evaluation(memorisation="there were no unseen images"), None, ["no memorisation"])
    assert not unseen.passed
    assert "no unseen images" in unseen.reason


def test_every_rule_has_its_result_and_all_that_failed_are_named() -> None:
    rules = RegisterParams().gate
    found = gate(evaluation(recall=0.0, samples=10), evaluation(samples=10), rules, 0.0, NAMES)
    assert [result.rule for result in found.results] == list(rules)
    assert [result.passed for result in found.results] == [False, False, True, False, True]
    assert "does not beat" in found.reason
    assert "recall_lite0_1k is 0" in found.reason
    assert "samples is 10" in found.reason
    assert found.results[0].numbers["champion"] == 20.0
    assert found.champion == "1"


def test_a_version_without_an_evaluation_passes_no_rule() -> None:
    found = gate(None, evaluation(), RegisterParams().gate, 0.0, NAMES)
    assert not any(result.passed for result in found.results)
    assert found.reason == "this version carries no evaluation"


def test_rules_are_written_as_people_write_them() -> None:
    chosen = override(Params(), ["register.gate=[better, recall >= 0.2, samples>=100]"])
    assert chosen.registration.gate == ("better", "recall >= 0.2", "samples>=100")
    chosen = override(Params(), ["register.gate=better, fid < 30"])
    assert chosen.registration.gate == ("better", "fid < 30")
    assert override(Params(), ["register.gate=[]"]).registration.gate == ()
    for bad in ("recal", "recall", "recall => 1", "recall >= many", "no memorization", "0.1 < fid"):
        with pytest.raises(GanpipeError, match="is no rule: write better, no memorisation, or"):
            override(Params(), [f"register.gate=[{bad}]"])


def test_rules_survive_the_file_and_are_bounded_in_the_form() -> None:
    import re

    import yaml

    assert validate(yaml.safe_load(to_yaml(Params()))) == Params()
    items = RegisterParams.model_json_schema()["properties"]["gate"]["items"]
    for rule in RegisterParams().gate:
        assert re.match(items["pattern"], rule)
    assert re.match(items["pattern"], "better than all") is None
    assert "?P<" not in items["pattern"]


def test_an_interval_that_is_known_on_one_side_alone_counts() -> None:
    alone = evaluation(9.9, None, None)
    assert not better(alone, evaluation(10.0, 5.0, 15.0)).passed
    assert not better(evaluation(9.9, 9.0, 11.0), evaluation(10.0, None, None)).passed
    assert better(alone, evaluation(10.0, None, None)).passed  # the margin alone decides
