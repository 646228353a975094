"""Killed at any of its writes, or left by its server, a move is completed by the next command."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ganpipe import registry
from ganpipe.commands import registry as commands
from ganpipe.errors import GanpipeError
from ganpipe.params import RegisterParams
from ganpipe.registry import Move, moves
from ganpipe.registry.place import Place
from tests.registry.shelf import (
    Shelf,
    before_write,
    in_another_process,
    promote_beside_others,
    told,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MOST_WRITES = 40
KILLED = 9


class Died(BaseException):
    """Stands for a kill where a process of its own would be too slow."""


def die() -> None:
    raise Died


def prepared(shelf: Shelf, model: str) -> None:
    """Champion 2 after 1, and a better candidate 3."""
    for value in (40.0, 30.0, 20.0):
        shelf.add(model, told(value))
    shelf.promote(model, "1")
    shelf.promote(model, "2")


def is_whole(shelf: Shelf, model: str) -> None:
    champion, previous = shelf.champions(model)
    assert champion is not None
    assert champion != previous


@pytest.mark.parametrize("action", ["promote", pytest.param("roll back", marks=pytest.mark.slow)])
def test_killed_at_any_write_it_is_completed_by_the_next_command(shelf: Shelf, action: str) -> None:
    """A whole process dies (os._exit) before the n-th write to MLflow, for every n."""
    model, number, code = f"killed {action}", 0, KILLED
    prepared(shelf, model)
    completed = []
    while code == KILLED:
        number += 1
        before, expected = _asked(shelf, action, model)
        known = len(registry.history(shelf.uri, model))

        def act(number: int = number) -> None:
            with before_write(number, lambda: os._exit(KILLED)):
                _act(shelf, action, model)

        code = in_another_process(act)
        is_whole(shelf, model)
        move = shelf.reconcile(model)
        assert shelf.champions(model) in (expected, before)
        assert shelf.reconcile(model) is None
        moved = shelf.champions(model) == expected
        found = registry.history(shelf.uri, model)
        assert len(found) == known + moved
        assert (found[-1].version == expected[0]) is moved
        if move is not None:
            assert (move.version, move.previous) == expected
            completed.append(number)
    assert code == 0
    assert len(completed) > 8  # from the first write to the last
    assert completed == list(range(completed[0], completed[-1] + 1))
    assert [each["at"] for each in shelf.lines(model)] == [each.at for each in found]


@pytest.mark.slow
@pytest.mark.parametrize("action", ["promote", "roll back"])
def test_whoever_tries_again_after_a_kill_gets_what_they_wanted(shelf: Shelf, action: str) -> None:
    """Never two steps: a rollback that was killed is not rolled back by the second try."""
    model = f"again {action}"
    for _, expected in attempts(shelf, action, model, lambda _: _act(shelf, action, model)):
        if shelf.champions(model) != expected:  # else they see that it was done
            assert _act(shelf, action, model).version == expected[0]
        assert shelf.reconcile(model) is None or shelf.champions(model) == expected
        assert shelf.champions(model) == expected


def test_the_first_promotion_of_all_can_be_killed_too(shelf: Shelf) -> None:
    number, ended = 0, False
    while not ended:
        number += 1
        model = f"first {number}"
        shelf.add(model, told(40.0))
        try:
            with before_write(number, die):
                shelf.promote(model, "1")
            ended = True
        except Died:
            shelf.reconcile(model)
            assert shelf.champions(model) in ((None, None), ("1", None))
            assert shelf.reconcile(model) is None
    assert shelf.champions(model) == ("1", None)


def test_a_version_that_is_deleted_before_its_promotion_is_completed_is_let_go(
    shelf: Shelf,
) -> None:
    prepared(shelf, "let go")
    with pytest.raises(Died), before_write(_call_of("set_registered_model_alias", shelf), die):
        shelf.promote("let go", "3")
    shelf.client.delete_model_version("let go", "3")
    assert shelf.reconcile("let go") is None
    assert shelf.champions("let go") == ("2", "1")
    shelf.rollback("let go")
    assert shelf.champions("let go") == ("1", "2")


def test_of_two_who_promote_at_once_one_wins_and_the_other_is_told(shelf: Shelf) -> None:
    model, processes = "at once", multiprocessing.get_context("fork")
    for value in (40.0, 30.0, 20.0):
        shelf.add(model, told(value))
    shelf.promote(model, "1")
    waiting, out = processes.Semaphore(0), processes.Queue()
    with shelf.lock():
        both = [
            processes.Process(target=promote_beside_others, args=(shelf, model, each, waiting, out))
            for each in ("2", "3")
        ]
        for process in both:
            process.start()
        for _ in both:
            assert waiting.acquire(timeout=60)
    ended = dict(out.get(timeout=60) for _ in both)
    for process in both:
        process.join()
    (winner,) = [version for version, how in ended.items() if how == "promoted"]
    (loser,) = ended.keys() - {winner}
    assert f"version {winner} of at once has become champion meanwhile" in ended[loser]
    assert f"by promoter of {winner}" in ended[loser]
    assert shelf.champions(model) == (winner, "1")
    assert [move.version for move in registry.history(shelf.uri, model)] == ["1", winner]


@pytest.mark.slow
@pytest.mark.integration
def test_a_server_that_goes_away_loses_nothing(
    tmp_path: Path,
    mlflow_server: Callable[[Path, int], AbstractContextManager[str]],
    free_port: int,
) -> None:
    there = tmp_path / "there"
    with mlflow_server(there, free_port) as address:
        shelf = Shelf(tmp_path, address)
        prepared(shelf, "served")
        prepared(shelf, "counted")
        with before_write(0, die) as writes:
            shelf.promote("counted", "3")
    with pytest.raises(GanpipeError, match="does not answer"):
        shelf.promote("served", "3")
    with ExitStack() as server:
        server.enter_context(mlflow_server(there, free_port))
        between = writes.index("set_registered_model_alias") + 2
        with (
            pytest.raises(GanpipeError, match=r"MLflow at .* failed .* by the next command"),
            before_write(between, server.close),
        ):
            shelf.promote("served", "3")
    with ExitStack() as server:
        server.enter_context(mlflow_server(there, free_port))
        is_whole(shelf, "served")
        move = shelf.reconcile("served")
        assert move is not None
        assert (move.version, shelf.champions("served")) == ("3", ("3", "2"))
        with before_write(0, die) as writes:
            shelf.rollback("counted")
        with before_write(writes.index("log_text") + 1, server.close):
            move = shelf.rollback("served")
        assert "promotions.jsonl or its page was not written" in move.warning
    with mlflow_server(there, free_port):
        assert shelf.champions("served") == ("2", "3")
        assert registry.history(address, "served")[-1].action == "rolled-back"


def _act(shelf: Shelf, action: str, model: str) -> Move:
    return shelf.promote(model, "3") if action == "promote" else shelf.rollback(model)


def _asked(shelf: Shelf, action: str, model: str) -> tuple[Any, Any]:
    """Champion and previous-champion before the action, and after it."""
    if action == "promote" and shelf.champions(model)[0] == "3":
        shelf.rollback(model)
    champion, previous = before = shelf.champions(model)
    return before, ("3" if action == "promote" else previous, champion)


def _call_of(name: str, shelf: Shelf) -> int:
    """The number of the first such write of a promotion like those here."""
    prepared(shelf, f"counted {name}")
    with before_write(0, die) as calls:
        shelf.promote(f"counted {name}", "3")
    return calls.index(name) + 1


def attempts(
    shelf: Shelf, action: str, model: str, act: Callable[[int], object]
) -> Iterator[tuple[int, Any]]:
    """Kill `act` before its first write, then its second, until it ends by itself.

    Yields after each the number of the attempt, and champion and previous-champion as wanted.
    """
    prepared(shelf, model)
    number, ended = 0, False
    while not ended:
        number += 1
        _, expected = _asked(shelf, action, model)
        with contextlib.suppress(Died):
            with before_write(number, die):
                act(number)
            ended = True
        yield number, expected
    assert number > 8  # from the first write to the last


def _is_moving(shelf: Shelf, model: str) -> bool:
    return moves.MOVING in shelf.client.get_registered_model(model).tags


class Checkout(Place):
    """What a command finds, with bytes that are all there."""

    def verify(self, version: ModelVersion) -> list[str]:
        return []


@pytest.mark.slow
@pytest.mark.parametrize("action", ["promote", "roll back"])
def test_a_command_that_is_given_again_after_a_kill_does_nothing_twice(
    shelf: Shelf, action: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = f"command {action}"
    place = Checkout(tmp_path, shelf.uri, model, RegisterParams(), shelf.lock)
    monkeypatch.setattr(commands, "open_registry", lambda name: place)

    def command() -> None:
        if action == "promote":
            commands.promote("3", "sharper")
        else:
            commands.rollback("it repeats itself")

    for _, expected in attempts(shelf, action, model, lambda _: command()):
        # else they see that it was done
        if _is_moving(shelf, model) or shelf.champions(model) != expected:
            command()
        assert shelf.champions(model) == expected


@pytest.mark.slow
@pytest.mark.parametrize("action", ["promote", "roll back"])
def test_one_request_is_done_once_however_often_it_is_made(shelf: Shelf, action: str) -> None:
    """As a flow run that was killed and is started again, whoever completed it meanwhile."""
    model = f"request {action}"

    def act(number: int) -> Move:
        request = f"run {number}"
        if action == "promote":
            return shelf.promote(model, "3", request=request)
        return shelf.rollback(model, request=request)

    for number, expected in attempts(shelf, action, model, act):
        if number % 2:
            shelf.reconcile(model)
        first, again = act(number), act(number)
        assert first == again
        assert first.version == expected[0]
        assert shelf.champions(model) == expected
