"""One function moves aliases: with evidence, under the lock, and what it did is on record."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ganpipe import registry, tracking
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.report.page import DECISIONS
from ganpipe.registry import CHAMPION, Move
from tests.registry.shelf import Shelf, told

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def test_a_better_version_becomes_champion_and_the_old_one_previous(shelf: Shelf) -> None:
    first, second = shelf.add("better", told(30.0)), shelf.add("better", told(20.0))
    move = shelf.promote("better", first)
    assert (move.action, move.previous) == ("promoted", "")
    assert shelf.champions("better") == (first, None)
    move = shelf.promote("better", second)
    assert (move.action, move.version, move.previous, move.by) == ("promoted", "2", "1", "Ada")
    assert shelf.champions("better") == (second, first)
    tags = shelf.tags("better", second)
    assert tags["ganpipe.promoted_by"] == "Ada"
    assert tags["ganpipe.promoted_from"] == first
    assert tags["ganpipe.promoted_reason"] == "it looks better"
    assert tags["ganpipe.gate"] == "true"
    assert shelf.tags("better", first)["ganpipe.replaced_by"] == second


def test_a_worse_version_is_refused_and_that_is_on_record(shelf: Shelf) -> None:
    first, second = shelf.add("worse", told(20.0)), shelf.add("worse", told(30.0))
    shelf.promote("worse", first)
    move = shelf.promote("worse", second)
    assert (move.action, move.previous) == ("refused", first)
    assert "does not beat" in move.decision.reason
    assert shelf.champions("worse") == (first, None)
    assert shelf.tags("worse", second)["ganpipe.gate"] == "false"
    found = registry.history(shelf.uri, "worse")
    assert found[-1] == move
    assert [each.action for each in found] == ["promoted", "refused"]


def test_force_overrules_the_gate_and_says_so(shelf: Shelf) -> None:
    first, second = shelf.add("forced", told(20.0)), shelf.add("forced", None)
    shelf.promote("forced", first)
    assert shelf.promote("forced", second).decision.reason == "this version carries no evaluation"
    move = shelf.promote("forced", second, force=True)
    assert (move.action, move.decision.passed) == ("promoted", False)
    assert shelf.champions("forced") == (second, first)
    assert registry.history(shelf.uri, "forced")[-1].decision.passed is False


def test_bytes_that_cannot_be_found_are_neither_promoted_nor_gone_back_to(shelf: Shelf) -> None:
    first, second = shelf.add("lost", told(30.0)), shelf.add("lost", told(20.0))
    shelf.promote("lost", first)
    gone = "data/train is in neither cache nor remote"
    move = shelf.promote("lost", second, verify=lambda version: [gone], force=True)
    assert move.action == "refused"
    assert gone in move.decision.reason
    shelf.promote("lost", second)

    def raises(version: object) -> list[str]:
        raise GanpipeError("version 1 has no lineage")

    move = shelf.rollback("lost", verify=raises)
    assert (move.action, move.version) == ("refused", first)
    assert "has no lineage" in move.decision.reason
    assert shelf.champions("lost") == (second, first)


def test_a_rollback_brings_the_previous_one_back_and_a_second_returns(shelf: Shelf) -> None:
    first, second = shelf.add("back", told(30.0)), shelf.add("back", told(20.0))
    with pytest.raises(GanpipeError, match="has no previous-champion to go back to"):
        shelf.rollback("back")
    shelf.promote("back", first)
    with pytest.raises(GanpipeError, match="only one version was ever champion"):
        shelf.rollback("back")
    shelf.promote("back", second)
    move = shelf.rollback("back")
    assert (move.action, move.version, move.previous) == ("rolled-back", first, second)
    assert shelf.champions("back") == (first, second)
    assert shelf.tags("back", second)["ganpipe.replaced_by"] == first
    assert "ganpipe.replaced_by" not in shelf.tags("back", first)
    assert shelf.rollback("back").version == second
    assert shelf.champions("back") == (second, first)


def test_a_decision_on_a_champion_that_was_replaced_is_told_by_whom(shelf: Shelf) -> None:
    for value in (40.0, 30.0, 20.0):
        shelf.add("overtaken", told(value))
    shelf.promote("overtaken", "1")
    shelf.promote("overtaken", "2", by="Bo", reason="sharper")
    with pytest.raises(
        GanpipeError, match=r"version 2 .* meanwhile, by Bo at .*sharper.* version 1 was champion"
    ):
        shelf.promote("overtaken", "3", against="1")
    assert shelf.champions("overtaken") == ("2", "1")
    assert len(registry.history(shelf.uri, "overtaken")) == 2


def test_versions_are_named_as_on_the_command_line(shelf: Shelf) -> None:
    shelf.add("named", told(30.0))
    shelf.client.set_registered_model_alias("named", "candidate", "1")
    assert registry.find(shelf.uri, "models:/named/1", "another").name == "named"
    assert shelf.promote("another", "models:/named@candidate").model == "named"
    assert int(registry.find(shelf.uri, CHAMPION, "named").version) == 1
    for wanted, message in [
        ("7", "has no version 7: versions 1; aliases @candidate, @champion"),
        ("champio", "has no alias champio"),
        ("models:/named", "write models:/name@alias"),
        ("a'b", "is no version: write 3, champion"),
        ("models:/it's/1", "write models:/name@alias"),
    ]:
        with pytest.raises(GanpipeError, match=message):
            shelf.promote("named", wanted)
    with pytest.raises(GanpipeError, match="version 1 of named is champion already"):
        shelf.promote("named", "1")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 2001])
def test_a_move_needs_a_reason(shelf: Shelf, reason: str) -> None:
    with pytest.raises(GanpipeError, match="say why"):
        shelf.promote("named", "1", reason=reason)
    with pytest.raises(GanpipeError, match="say why"):
        shelf.rollback("named", reason=reason)


def test_either_of_two_may_be_measured_anew_to_be_compared(shelf: Shelf) -> None:
    shelf.add("anew", told(30.0, seed=1))
    shelf.add("anew", told(20.0, seed=2))
    shelf.promote("anew", "1")
    rules = ["better"]
    found = registry.judge(shelf.uri, "anew", "2", rules, 0.0)
    assert not found.passed
    assert "seed 1 v 2" in found.reason
    shelf.evaluate("anew", "2", told(35.0, seed=1))
    assert (
        "35 against champion version 1's 30"
        in registry.judge(shelf.uri, "anew", "2", rules, 0.0).reason
    )
    shelf.evaluate("anew", "1", told(25.0, seed=2))
    found = registry.judge(shelf.uri, "anew", "2", rules, 0.0)
    assert found.passed
    assert "20 against champion version 1's 25" in found.reason
    assert shelf.champions("anew") == ("1", None)  # judging moves nothing


def test_both_measured_anew_by_a_third_protocol_are_compared_by_it(shelf: Shelf) -> None:
    shelf.add("third", told(30.0, seed=1))
    shelf.add("third", told(20.0, seed=2))
    shelf.promote("third", "1")
    shelf.evaluate("third", "1", told(28.0, seed=3))
    remedy = "`ganpipe evaluate models:/third/1 --like models:/third/2`"
    assert remedy in registry.judge(shelf.uri, "third", "2", ["better"], 0.0).reason
    shelf.evaluate("third", "2", told(21.0, seed=3))
    found = registry.judge(shelf.uri, "third", "2", ["better"], 0.0)
    assert "21 against champion version 1's 28" in found.reason
    assert found.passed


def test_an_evaluation_of_another_generator_is_not_believed(shelf: Shelf) -> None:
    version = shelf.client.get_model_version("other", shelf.add("other", told(20.0)))
    file = Path(str(version.source).removeprefix("file://")) / "lineage/report/evaluation.json"
    sound = file.read_text()
    file.write_text(sound.replace(version.tags["ganpipe.generator_sha256"], "f" * 64))
    with pytest.raises(GanpipeError, match="measured another generator"):
        registry.evaluation_of(shelf.uri, version)
    assert not registry.judge(shelf.uri, "other", "1", ["better"], 0.0).passed
    file.write_text(sound[:100])
    assert "is damaged" in shelf.promote("other", "1").decision.reason
    file.write_text(sound)
    assert shelf.promote("other", "1").action == "promoted"


def test_numbers_alone_are_judged_as_far_as_they_go(shelf: Shelf) -> None:
    """Of a pipeline of the user's own, which writes metrics.json and nothing else."""
    for value in (30.0, 20.0):
        number = shelf.add("alone", told(value))
        version = shelf.client.get_model_version("alone", number)
        report = Path(str(version.source).removeprefix("file://")) / "lineage/report"
        known = json.loads((report / "evaluation.json").read_text())
        metrics = {row["name"]: row["value"] for row in known["measures"]}
        metrics |= {key: known[key] for key in ("protocol", "generator_sha256")}
        (report / "metrics.json").write_text(json.dumps({**metrics, "floor_fid_lite0_1k": 1.5}))
        (report / "evaluation.json").unlink()
    assert shelf.promote("alone", "1", rules=["better", "recall >= 0.1"]).action == "promoted"
    found = registry.judge(shelf.uri, "alone", "2", ["better", "no memorisation"], 0.0)
    assert [result.passed for result in found.results] == [True, False]
    assert "no interval is known" in found.results[0].told
    assert "metrics.json alone" in found.results[1].told


def test_every_decision_is_a_line_of_a_file_and_none_is_lost(shelf: Shelf) -> None:
    for value in (30.0, 20.0, math.nan):
        shelf.add("lines", told(value))
    for version in ("1", "2", "3"):
        shelf.promote("lines", version)
    lines = shelf.lines("lines")
    assert [line["action"] for line in lines] == ["promoted", "promoted", "refused"]
    (better, *_) = lines[1]["decision"]["results"]
    assert better["numbers"]["champion"] == 30.0
    assert better["numbers"]["candidate"] == 20.0
    assert lines[2]["decision"]["results"][0]["numbers"] == {"candidate": None}
    assert lines[1]["decision"]["protocol"]
    _break(shelf, "lines", "{torn")
    assert [move.version for move in registry.history(shelf.uri, "lines")] == ["1", "2", "3"]
    shelf.rollback("lines")
    assert [line["action"] for line in shelf.lines("lines")][2:] == ["refused", "rolled-back"]
    # what is left of a version that is gone
    shelf.client.delete_model_version("lines", "3")
    shelf.rollback("lines")
    assert [line["version"] for line in shelf.lines("lines")] == ["1", "2", "3", "1", "2"]
    assert len(registry.history(shelf.uri, "lines")) == 5


def test_every_decision_stands_on_the_page_of_the_version_s_report(shelf: Shelf) -> None:
    shelf.add("page", told(30.0))
    made = shelf.client.get_model_version("page", shelf.add("page", told(20.0)))
    experiment = shelf.client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    run_id = shelf.client.create_run(experiment.experiment_id).info.run_id
    shelf.client.log_text(
        run_id, f"<main>{DECISIONS}<!-- /decisions --></main>", "report/index.html"
    )
    shelf.client.create_model_version("page", made.source, run_id, tags=dict(made.tags))

    shelf.promote("page", "1")
    shelf.promote("page", "3", rules=["better", "recall >= 0.9"])
    shelf.promote("page", "3", reason="<b>sharper</b>", force=True, rules=["recall >= 0.9"])
    page = shelf.client.download_artifacts(run_id, "report/index.html", str(shelf.folder))
    text = Path(page).read_text(encoding="utf-8")
    assert text.index("promoted, was 1") < text.index("refused, was 1")  # the newest first
    assert "&lt;b&gt;sharper&lt;/b&gt;" in text
    assert "recall &gt;= 0.9" in text
    assert "20 against champion version 1&#39;s 30" in text


def test_a_reason_may_hold_any_character_and_outlives_its_version(shelf: Shelf) -> None:
    reason = "one\u2028two\u2029three\x85four\x0cfive\u00a0six"
    for value in (30.0, 20.0):
        shelf.add("characters", told(value))
    shelf.promote("characters", "1", reason=reason)
    shelf.promote("characters", "2")
    shelf.rollback("characters")
    shelf.client.delete_model_version("characters", "1")
    shelf.reconcile("characters")
    assert registry.history(shelf.uri, "characters")[0].reason == reason


@pytest.mark.parametrize("text", ["{torn", '{"at": 1, "version": "2"}'])
def test_a_damaged_decision_is_named_and_hides_no_other(shelf: Shelf, text: str) -> None:
    model = f"damaged {len(text)}"
    for value in (30.0, 20.0, 10.0):
        shelf.add(model, told(value))
    moves = [shelf.promote(model, version) for version in ("1", "2")]
    (tag,) = (key for key in shelf.tags(model, "2") if key.startswith("ganpipe.decision."))
    shelf.client.set_model_version_tag(model, "2", tag, text)
    assert registry.history(shelf.uri, model) == moves, "promotions.jsonl has it whole"
    moves.append(shelf.promote(model, "3"))
    assert moves[-1].warning == ""
    assert [line["version"] for line in shelf.lines(model)] == ["1", "2", "3"]
    _break(shelf, model, "")
    found = registry.history(shelf.uri, model)
    assert [found[0], found[2]] == [moves[0], moves[2]]
    assert (found[1].action, found[1].version, found[1].at) == ("unreadable", "2", moves[1].at)
    assert f"the decision {tag} of version 2 is damaged" in found[1].reason
    shelf.rollback(model)
    assert shelf.champions(model) == ("2", "3")


def test_who_waits_for_the_lock_does_not_wait_for_verify(shelf: Shelf) -> None:
    model = "at once"
    for value in (40.0, 30.0, 20.0):
        shelf.add(model, told(value))
    held, asked = list[bool](), list[tuple[str, bool]]()

    @contextmanager
    def lock() -> Iterator[None]:
        held.append(True)
        yield
        held.pop()

    def verify(found: ModelVersion) -> list[str]:
        asked.append((str(found.version), bool(held)))
        return []

    def first(version: str) -> bool:
        """Whether others waited when it was verified first."""
        return next(locked for number, locked in asked if number == version)

    for version in ("1", "2"):
        shelf.promote(model, version, verify=verify, lock=lock())
        assert (first(version), asked[-1]) == (False, (version, True))
    asked.clear()
    shelf.rollback(model, verify=verify, lock=lock())
    assert asked == [("1", False), ("1", True)]
    asked.clear()
    shelf.client.set_registered_model_alias(model, CHAMPION, "3")
    registry.reconcile(shelf.uri, model, verify=verify, lock=lock())
    assert (first("3"), asked[-1]) == (False, ("3", True))
    asked.clear()
    shelf.client.set_registered_model_alias(model, CHAMPION, "2")  # unnoticed
    shelf.rollback(model, verify=verify, lock=lock())
    assert (first("2"), first("3")) == (False, False)
    assert shelf.champions(model) == ("3", "2")


def test_bytes_that_went_while_the_lock_was_waited_for_are_missed(shelf: Shelf) -> None:
    shelf.add("went", told(40.0))
    gone = []

    @contextmanager
    def lock() -> Iterator[None]:
        gone.append("data/train is nowhere")  # a `ganpipe gc` held it until now
        yield

    move = shelf.promote("went", "1", verify=lambda version: list(gone), lock=lock())
    assert move.action == "refused"
    assert gone[0] in move.decision.reason
    shelf.add("went", told(30.0))

    @contextmanager
    def deleting() -> Iterator[None]:
        shelf.client.delete_model_version("went", "2")
        yield

    with pytest.raises(GanpipeError, match="has no version 2: versions 1"):
        shelf.promote("went", "2", lock=deleting())


def test_every_move_is_told_once_and_a_refusal_never(shelf: Shelf) -> None:
    model, moves = "told", list[Move]()
    for value in (40.0, 30.0, 20.0, 50.0):
        shelf.add(model, told(value))

    def hand(found: ModelVersion) -> list[str]:
        """Somebody is quicker."""
        if shelf.champions(model)[0] == "2":
            shelf.client.set_registered_model_alias(model, CHAMPION, "3")
        return []

    shelf.promote(model, "1", on_move=moves.append)
    shelf.promote(model, "4", on_move=moves.append)
    shelf.promote(model, "2", on_move=moves.append)
    with pytest.raises(GanpipeError, match="version 3 of told has become champion meanwhile"):
        shelf.promote(model, "4", on_move=moves.append, verify=hand)
    shelf.rollback(model, on_move=moves.append)
    with pytest.raises(GanpipeError, match="version 3 of told has become champion meanwhile"):
        shelf.rollback(model, on_move=moves.append, verify=hand)
    expected = [("promoted", "1"), ("promoted", "2"), ("by-hand", "3"), ("rolled-back", "2")]
    assert [(move.action, move.version) for move in moves] == [*expected, ("by-hand", "3")]
    found = registry.history(shelf.uri, model)
    assert moves == [move for move in found if move.action != "refused"]


def _break(shelf: Shelf, model: str, text: str) -> None:
    experiment = shelf.client.get_experiment_by_name("ganpipe")
    assert experiment is not None
    where = f"tags.`ganpipe.promotions_of` = '{model}'"
    (run,) = shelf.client.search_runs([experiment.experiment_id], where)
    shelf.client.log_text(run.info.run_id, text, "promotions.jsonl")
