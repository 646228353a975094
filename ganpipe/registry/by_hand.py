"""Aliases that were moved or deleted in MLflow itself: noticed, judged, and put on record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ganpipe.params import RegisterParams
from ganpipe.registry import audit, moves
from ganpipe.registry.audit import Move
from ganpipe.registry.gate import Decision
from ganpipe.registry.judge import Verify, compared, verified
from ganpipe.registry.moves import OnMove, nobody
from ganpipe.registry.versions import CHAMPION, PREVIOUS, existing, registered
from ganpipe.tracking import check, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

RULES = RegisterParams().gate


@dataclass(frozen=True)
class Seen:
    """The aliases as they are, and as ganpipe last left them; empty where there is none."""

    champion: str
    previous: str
    was: str
    before: str
    known: bool
    """ganpipe has left aliases here at all."""
    moving: bool

    @property
    def settled(self) -> bool:
        same = (self.champion, self.previous) == (self.was, self.before)
        return not self.moving and (same or not (self.champion or self.was))


def reconcile(
    uri: str,
    model: str,
    *,
    lock: AbstractContextManager[Any],
    rules: Sequence[str] = RULES,
    margin: float = 0.0,
    verify: Verify | None = None,
    on_move: OnMove = nobody,
) -> Move | None:
    """Complete an interrupted move, and notice aliases that were moved or deleted by hand.

    previous-champion then names the version that really was champion, and the move is judged by
    gate and `verify` after the fact: it stands, and `decision` says what they think of it. A
    deleted champion alias comes back. `on_move` is told of each move; returned is the last, None
    where nothing happened.
    """
    check(uri)
    client = connect(uri)
    with moves.outages(uri):
        if (seen := _look(client, model)) is None or seen.settled:
            return None  # the usual answer to a poll needs no lock
        ahead(client, model, verify)
        with lock:
            return settle(client, uri, model, rules, margin, verify, on_move)


def ahead(client: MlflowClient, model: str, verify: Verify | None, *numbers: str) -> None:
    """Verify versions, and those that a hand has moved, before a lock that others wait for.

    Bytes may go until the lock is held, so they are verified again under it; that is quick, as
    `verify` reads no file anew that has not changed.
    """
    seen = _look(client, model)
    if verify is None or seen is None:
        return
    moved = () if seen.champion == seen.was else (seen.champion, seen.was)
    for number in dict.fromkeys((*numbers, *moved)):
        if number and (version := existing(client, model, number)):
            verified(verify, version)


def settle(
    client: MlflowClient,
    uri: str,
    model: str,
    rules: Sequence[str],
    margin: float,
    verify: Verify | None,
    on_move: OnMove,
) -> Move | None:
    """The same, for those who hold the lock."""
    completed = moves.complete(client, model, on_move)
    seen = _look(client, model)
    if seen is None or seen.settled:
        return completed
    was = seen.was if seen.was and existing(client, model, seen.was) else ""
    before = seen.before if seen.before and existing(client, model, seen.before) else ""
    planned = _planned(client, model, seen, was, before)
    if planned is None:
        if seen.known and seen.previous != before:  # it names one that never was champion
            client.delete_registered_model_alias(model, PREVIOUS)
        kept = before if seen.known else seen.previous
        moves.last_left(client, model, seen.champion, kept)
        return completed
    if planned.version == seen.champion != was:
        version = client.get_model_version(model, planned.version)
        rival = client.get_model_version(model, was) if was else None
        decision = compared(uri, version, rival, rules, margin)
        if verify is not None:
            decision = decision.beside(verified(verify, version))
        planned = replace(planned, decision=decision)
        if _look(client, model) != seen:  # moved again while this one was judged
            return settle(client, uri, model, rules, margin, verify, on_move)
    return moves.move(client, planned, on_move)


def _planned(client: MlflowClient, model: str, seen: Seen, was: str, before: str) -> Move | None:
    """How the aliases should be, and what a person did; None where nobody has to be told."""
    if not seen.champion:
        gone = f"version {seen.was} was deleted" if not was else f"the alias {CHAMPION} was deleted"
        reason = f"{gone} in MLflow: this one is it again"
        if was:
            return _restored(model, was, before, reason)
        return _by_hand(model, before, "", reason) if before else None
    if seen.champion != was:
        tags = client.get_model_version(model, seen.champion).tags
        if not seen.known and "ganpipe.promoted_at" in tags:
            return None  # by a ganpipe that did not write down how it left the aliases
        after = was or (before if before != seen.champion else "")
        return _by_hand(model, seen.champion, after, f"the alias {CHAMPION} was moved in MLflow")
    if not before:
        return None
    what = f"moved to version {seen.previous}" if seen.previous else "deleted"
    reason = f"the alias {PREVIOUS} was {what} in MLflow: it is back"
    return _restored(model, seen.champion, before, reason)


def _restored(model: str, version: str, previous: str, reason: str) -> Move:
    return replace(_by_hand(model, version, previous, reason), action="restored")


def _by_hand(model: str, version: str, previous: str, reason: str) -> Move:
    stands = Decision(True, "it was champion already")
    return Move("by-hand", model, version, previous, audit.UNKNOWN, audit.now(), reason, stands)


def _look(client: MlflowClient, model: str) -> Seen | None:
    found = registered(client, model)
    if found is None:
        return None
    left = moves.left(found.tags)
    was, before = left or ("", "")
    return Seen(
        champion=str(found.aliases.get(CHAMPION, "")),
        previous=str(found.aliases.get(PREVIOUS, "")),
        was=was,
        before=before,
        known=left is not None,
        moving=moves.MOVING in found.tags,
    )
