"""Promotion and rollback on somebody's decision: with evidence, under a lock, on record."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ganpipe.errors import GanpipeError
from ganpipe.registry import audit, moves
from ganpipe.registry.audit import Action, Move
from ganpipe.registry.by_hand import RULES, ahead, settle
from ganpipe.registry.gate import Decision, summed_up
from ganpipe.registry.judge import Verify, compared, verified
from ganpipe.registry.moves import OnMove, nobody
from ganpipe.registry.versions import CHAMPION, PREVIOUS, aliases, existing, find
from ganpipe.tracking import check, connect, user

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_REASON = 2000


def promote(
    uri: str,
    model: str,
    version: str,
    *,
    reason: str,
    lock: AbstractContextManager[Any],
    verify: Verify,
    by: str = "",
    force: bool = False,
    rules: Sequence[str] = RULES,
    margin: float = 0.0,
    against: str | None = None,
    request: str = "",
    on_move: OnMove = nobody,
) -> Move:
    """Make a version champion if gate and verify let it; the champion becomes previous-champion.

    `version` is written as for `find`. `by` is who decides (default: the user of this process).
    `force` overrules the gate, never `verify`: what cannot be rebuilt is not promoted. `against`
    is the champion that the decision was made against (default: the one of now, before the lock
    is waited for). What `request` names has been done at most once: asked again, for a process may
    end before it hears the answer, the same Move comes back. `on_move` is told of this move, and
    of those by hand that were noticed first.
    Returns what was decided, also a refusal. Raises GanpipeError for an unknown version, for
    the champion itself, and when another one has become champion meanwhile.
    """
    _check_reason(reason)
    found = find(uri, version, model)
    model, number = found.name, str(found.version)
    client = connect(uri)
    with moves.outages(uri):
        if against is None:
            against = aliases(client, model).get(CHAMPION, "")
        ahead(client, model, verify, number)
        with lock:
            before = settle(client, uri, model, rules, margin, verify, on_move)
            if done := audit.answered(client, model, request):
                return done
            champion = aliases(client, model).get(CHAMPION, "")
            if champion == number and before and before.version == number:
                return before  # this very promotion had been interrupted
            if champion != against:
                raise GanpipeError(_overtaken(client, model, champion, against))
            if champion == number:
                raise GanpipeError(f"version {number} of {model} is {CHAMPION} already")
            found = find(uri, number, model)  # it may have been deleted meanwhile
            rival = existing(client, model, champion) if champion else None
            checked = verified(verify, found)
            decision = compared(uri, found, rival, rules, margin).beside(checked)
            passed = decision.passed or (force and checked.passed)
            action: Action = "promoted" if passed else "refused"
            planned = _move(action, model, number, champion, by, reason, decision, request)
            return moves.move(client, planned, on_move) if passed else refuse(client, planned)


def rollback(
    uri: str,
    model: str,
    *,
    reason: str,
    lock: AbstractContextManager[Any],
    verify: Verify,
    by: str = "",
    rules: Sequence[str] = RULES,
    margin: float = 0.0,
    against: str | None = None,
    request: str = "",
    on_move: OnMove = nobody,
) -> Move:
    """Make previous-champion champion again, and the champion previous-champion.

    Twice brings the first state back. The gate is not asked, `verify` is. The one that was
    rolled back is marked, so that no cached run promotes it again. `against`, `request` and
    `on_move` as for `promote`.
    Raises GanpipeError when there is nothing to go back to, or another one has become champion
    meanwhile.
    """
    _check_reason(reason)
    check(uri)
    client = connect(uri)
    with moves.outages(uri):
        there = aliases(client, model)
        if against is None:
            against = there.get(CHAMPION, "")
        ahead(client, model, verify, there.get(PREVIOUS, ""))
        with lock:
            before = settle(client, uri, model, rules, margin, verify, on_move)
            if done := audit.answered(client, model, request):
                return done
            if before and before.action == "rolled-back":
                return before  # this very rollback had been interrupted
            there = aliases(client, model)
            champion, previous = there.get(CHAMPION, ""), there.get(PREVIOUS)
            if against and champion != against:
                raise GanpipeError(_overtaken(client, model, champion, against))
            if previous is None:
                raise GanpipeError(
                    f"{model} at {uri} has no {PREVIOUS} to go back to: only one version was "
                    f"ever {CHAMPION}; `ganpipe promote VERSION` names another"
                )
            checked = verified(verify, client.get_model_version(model, previous))
            decision = summed_up((checked,), champion)
            action: Action = "rolled-back" if checked.passed else "refused"
            planned = _move(action, model, previous, champion, by, reason, decision, request)
            if not checked.passed:
                return refuse(client, planned)
            return moves.move(client, planned, on_move)


def refuse(client: MlflowClient, planned: Move) -> Move:
    """Put a decision that moves nothing on record."""
    audit.write(client, planned)
    return audit.published(client, planned)


def _move(
    action: Action,
    model: str,
    version: str,
    previous: str,
    by: str,
    reason: str,
    decision: Decision,
    request: str,
) -> Move:
    who = by or user() or audit.UNKNOWN
    return Move(action, model, version, previous, who, audit.now(), reason, decision, request)


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise GanpipeError(
            f"reason={reason[:40]!r}: say why, in up to {LONGEST_REASON:,} characters"
        )


def _overtaken(client: MlflowClient, model: str, champion: str, against: str) -> str:
    """Who became champion meanwhile, and by whom."""
    asked = f"version {against} was champion" if against else "there was no champion"
    version = existing(client, model, champion) if champion else None
    if version is None:
        return f"{model} has no champion now, where {asked} when this was decided: decide again"
    tags = version.tags
    return (
        f"version {champion} of {model} has become champion meanwhile, by "
        f"{tags.get('ganpipe.promoted_by', audit.UNKNOWN)} at {tags.get('ganpipe.promoted_at')} "
        f"({tags.get('ganpipe.promoted_reason')}), where {asked} when this was decided: look at "
        "both and decide again"
    )
