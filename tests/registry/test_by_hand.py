"""What a person moves in MLflow's own page stands, is judged, and is on record."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ganpipe import registry
from ganpipe.errors import GanpipeError
from ganpipe.registry import CHAMPION, PREVIOUS
from tests.registry.shelf import Shelf, before_write, told


def prepared(shelf: Shelf, model: str) -> None:
    """Champion 2 after 1; 3 would be worse, 4 was not made by ganpipe."""
    for evaluation in (told(40.0), told(30.0), told(35.0), None):
        shelf.add(model, evaluation)
    shelf.promote(model, "1")
    shelf.promote(model, "2")


def by_hand(shelf: Shelf, model: str, version: str, alias: str = CHAMPION) -> None:
    shelf.client.set_registered_model_alias(model, alias, version)


@pytest.mark.parametrize("version", ["3", "4", "1"])
def test_a_move_by_hand_stands_with_the_true_predecessor(shelf: Shelf, version: str) -> None:
    model = f"hand {version}"
    prepared(shelf, model)
    by_hand(shelf, model, version)
    missing = ["data/train is nowhere"] if version == "4" else []
    move = shelf.reconcile(model, verify=lambda found: missing)
    assert move is not None
    assert (move.action, move.version, move.previous) == ("by-hand", version, "2")
    assert move.by == "unknown"
    assert not move.decision.passed
    expected = {"3": "does not beat", "4": "no evaluation", "1": "does not beat"}[version]
    assert expected in move.decision.reason
    assert ("data/train is nowhere" in move.decision.reason) is (version == "4")
    assert shelf.champions(model) == (version, "2")
    assert shelf.reconcile(model) is None
    assert registry.history(shelf.uri, model)[-1] == move
    assert shelf.tags(model, version)["ganpipe.promoted_by"] == "unknown"
    assert shelf.tags(model, "2")["ganpipe.replaced_by"] == version
    shelf.rollback(model)
    assert shelf.champions(model) == ("2", version)


def test_a_rollback_after_an_unnoticed_move_goes_to_who_really_was_champion(shelf: Shelf) -> None:
    prepared(shelf, "unnoticed")
    by_hand(shelf, "unnoticed", "3")  # previous-champion still names 1
    assert shelf.rollback("unnoticed").version == "2"
    assert shelf.champions("unnoticed") == ("2", "3")
    assert [move.action for move in registry.history(shelf.uri, "unnoticed")[2:]] == [
        "by-hand",
        "rolled-back",
    ]


def test_an_alias_that_is_moved_again_while_it_is_judged_stays_where_it_was_put(
    shelf: Shelf,
) -> None:
    prepared(shelf, "twice")
    by_hand(shelf, "twice", "4")

    asked = []

    def judged(found: Any) -> list[str]:
        asked.append(str(found.version))
        if asked.count("4") == 2:  # under the lock; the first time, others do not wait yet
            by_hand(shelf, "twice", "3")
        return []

    move = shelf.reconcile("twice", verify=judged)
    assert move is not None
    assert (move.version, move.previous) == ("3", "2")
    assert shelf.champions("twice") == ("3", "2")
    assert shelf.reconcile("twice") is None


def test_the_first_champion_may_be_made_by_hand(shelf: Shelf) -> None:
    shelf.add("first by hand", told(40.0))
    assert shelf.reconcile("first by hand") is None
    by_hand(shelf, "first by hand", "1")
    move = shelf.reconcile("first by hand")
    assert move is not None
    assert (move.action, move.previous, move.decision.passed) == ("by-hand", "", True)
    assert shelf.champions("first by hand") == ("1", None)


def test_a_deleted_champion_alias_comes_back(shelf: Shelf) -> None:
    prepared(shelf, "deleted alias")
    shelf.client.delete_registered_model_alias("deleted alias", CHAMPION)
    move = shelf.reconcile("deleted alias")
    assert move is not None
    assert move.action == "restored"
    assert "alias champion was deleted" in move.reason
    assert shelf.champions("deleted alias") == ("2", "1")
    shelf.client.delete_registered_model_alias("deleted alias", CHAMPION)
    shelf.client.delete_registered_model_alias("deleted alias", PREVIOUS)
    assert shelf.rollback("deleted alias").version == "1"


def test_what_was_decided_of_a_champion_stands_when_its_aliases_come_back(shelf: Shelf) -> None:
    prepared(shelf, "evidence")
    shelf.promote("evidence", "4", force=True, reason="all the same")
    before = shelf.tags("evidence", "4")
    assert before["ganpipe.gate"] == "false"
    for alias in (PREVIOUS, CHAMPION):
        shelf.client.delete_registered_model_alias("evidence", alias)
        assert shelf.reconcile("evidence") is not None
        assert shelf.champions("evidence") == ("4", "2")
    after = shelf.tags("evidence", "4")
    assert {key: after[key] for key in before} == before
    actions = [move.action for move in registry.history(shelf.uri, "evidence")]
    assert actions[-3:] == ["promoted", "restored", "restored"]


def test_a_deleted_champion_gives_way_to_its_predecessor(shelf: Shelf) -> None:
    prepared(shelf, "deleted version")
    shelf.client.delete_model_version("deleted version", "2")
    move = shelf.reconcile("deleted version")
    assert move is not None
    assert "version 2 was deleted" in move.reason
    assert shelf.champions("deleted version") == ("1", None)
    shelf.client.delete_model_version("deleted version", "1")
    assert shelf.reconcile("deleted version") is None  # there is none to go back to
    assert shelf.promote("deleted version", "3").action == "promoted"
    assert shelf.champions("deleted version") == ("3", None)


@pytest.mark.parametrize("version", ["2", "3", ""])
def test_previous_champion_names_none_but_who_was_champion(shelf: Shelf, version: str) -> None:
    model = f"previous {version}"
    prepared(shelf, model)
    if version:
        by_hand(shelf, model, version, PREVIOUS)
    else:
        shelf.client.delete_registered_model_alias(model, PREVIOUS)
    move = shelf.reconcile(model)
    assert move is not None
    assert move.action == "restored"
    assert "previous-champion was" in move.reason
    assert shelf.champions(model) == ("2", "1")
    assert shelf.reconcile(model) is None


def test_a_poll_that_finds_nothing_takes_no_lock_and_writes_nothing(shelf: Shelf) -> None:
    prepared(shelf, "polled")
    with shelf.lock(), before_write(0, None) as writes:
        lock = registry.file_lock(shelf.state, seconds=0.01)
        assert registry.reconcile(shelf.uri, "polled", lock=lock) is None
        assert registry.reconcile(shelf.uri, "nobody", lock=lock) is None
    assert writes == []


class Died(BaseException):
    pass


def _die() -> None:
    raise Died


VERSIONS = st.sampled_from(["1", "2", "3", "4"])


class Aliases(RuleBasedStateMachine):
    """Any order of promotions, rollbacks, kills and moves by hand."""

    shelf: Shelf
    number = 0

    def __init__(self) -> None:
        super().__init__()
        Aliases.number += 1
        self.model = f"machine {Aliases.number}"
        for value in (40.0, 30.0, 20.0, 10.0):
            self.shelf.add(self.model, told(value))
        self.champion: str | None = None
        self.previous: str | None = None
        self.settled = True

    def look(self, settled: bool) -> None:
        """Who is champion now; who was before is known from having looked at every step."""
        champion, _ = self.shelf.champions(self.model)
        if champion not in (self.champion, None):
            self.previous, self.champion = self.champion, champion
        self.settled = settled

    @rule(version=VERSIONS, dies=st.integers(0, 16))
    def promote(self, version: str, dies: int) -> None:
        self.act(dies, lambda: self.shelf.promote(self.model, version, force=True))

    @rule(dies=st.integers(0, 16))
    def roll_back(self, dies: int) -> None:
        self.act(dies, lambda: self.shelf.rollback(self.model))

    @rule()
    def reconcile(self) -> None:
        self.act(0, lambda: self.shelf.reconcile(self.model))

    def act(self, dies: int, what: Any) -> None:
        # a kill or a hand may have left something, which this completes first
        if not self.settled:
            self.shelf.reconcile(self.model)
            self.look(True)
        try:
            with contextlib.suppress(GanpipeError), before_write(dies, _die):
                what()
            self.look(True)
        except Died:
            self.look(False)

    @precondition(lambda self: self.settled)
    @rule(version=VERSIONS)
    def by_hand(self, version: str) -> None:
        by_hand(self.shelf, self.model, version)
        self.look(False)

    @precondition(lambda self: self.settled and self.champion)
    @rule()
    def delete_by_hand(self) -> None:
        self.shelf.client.delete_registered_model_alias(self.model, CHAMPION)
        self.settled = False

    @invariant()
    def a_champion_and_who_was_before(self) -> None:
        if self.settled:
            assert self.shelf.champions(self.model) == (self.champion, self.previous)


@pytest.mark.slow
def test_in_any_order_the_aliases_tell_the_truth(shelf: Shelf) -> None:
    Aliases.shelf = shelf
    case = Aliases.TestCase
    case.settings = settings(
        max_examples=8,
        stateful_step_count=10,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    case().runTest()
