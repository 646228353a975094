"""The one function that moves aliases, and what completes it when it was interrupted.

MLflow's aliases have no history and no compare-and-set. So everything here runs under the lock
that is passed in; what is about to happen is written first, and the next promotion, rollback,
registration or look at the history completes it; what ganpipe last left is written too, so that a
move by hand is noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ganpipe.errors import GanpipeError
from ganpipe.registry import audit
from ganpipe.registry.audit import Move
from ganpipe.registry.versions import CHAMPION, PREVIOUS, aliases, existing, registered
from ganpipe.tracking import named_outages

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOVING, CHAMPIONS = "ganpipe.moving", "ganpipe.champions"  # tags of the model
INTENT = "ganpipe.intent"  # tag of the version that becomes champion
REPLACED = "ganpipe.replaced_by"
OnMove = Callable[[Move], None]
"""Is told of every move as soon as it is on record; may be under the lock still."""
LEFT = re.compile(r"champion (?P<champion>\d*), previous (?P<previous>\d*)")


def nobody(move: Move) -> None:
    """Where nobody is to be told of moves."""
    del move


def move(client: MlflowClient, planned: Move, on_move: OnMove) -> Move:
    """Make planned.version champion and planned.previous previous-champion.

    Raises GanpipeError when somebody else moves an alias at the same time.
    """
    client.set_model_version_tag(planned.model, planned.version, INTENT, audit.to_json(planned))
    client.set_registered_model_tag(planned.model, MOVING, planned.version)
    return _carry_out(client, planned, on_move)


def complete(client: MlflowClient, model: str, on_move: OnMove) -> Move | None:
    """Finish the move that was under way when its process ended; None where there is none."""
    found = registered(client, model)
    if found is None or MOVING not in found.tags:
        return None
    version = existing(client, model, found.tags[MOVING])
    intent = version.tags.get(INTENT) if version else None
    if intent is None:  # that version was deleted meanwhile
        client.delete_registered_model_tag(model, MOVING)
        return None
    planned = audit.from_json(intent, f"the tag {INTENT} of version {found.tags[MOVING]}")
    champion = str(found.aliases.get(CHAMPION, ""))
    if champion in ("", planned.previous, planned.version):
        return _carry_out(client, planned, on_move)
    # a third one was made champion by hand; this one had been if previous-champion says so
    if planned.previous and str(found.aliases.get(PREVIOUS)) == planned.previous:
        _record(client, planned)
        on_move(planned)
    _forget(client, planned)
    return None


def last_left(client: MlflowClient, model: str, champion: str, previous: str) -> None:
    """Write down how ganpipe leaves the aliases."""
    client.set_registered_model_tag(model, CHAMPIONS, f"champion {champion}, previous {previous}")


def left(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """champion and previous-champion as ganpipe left them (empty: none); None: it never did."""
    found = LEFT.fullmatch(tags.get(CHAMPIONS, ""))
    return (found["champion"], found["previous"]) if found else None


def _carry_out(client: MlflowClient, planned: Move, on_move: OnMove) -> Move:
    model, new = planned.model, planned.version
    old = planned.previous
    if old and existing(client, model, old) is None:
        old = ""
    there = aliases(client, model)
    if there.get(PREVIOUS) == new:  # else both aliases would name it for a moment
        client.delete_registered_model_alias(model, PREVIOUS)
    if there.get(CHAMPION) != new:  # else somebody put it there, and may put it elsewhere by now
        client.set_registered_model_alias(model, CHAMPION, new)
    if old:
        client.set_registered_model_alias(model, PREVIOUS, old)
    there = aliases(client, model)
    if there.get(CHAMPION) != new or (old and there.get(PREVIOUS) != old):
        raise GanpipeError(
            f"{model}@{CHAMPION} is version {there.get(CHAMPION)} and {PREVIOUS} version "
            f"{there.get(PREVIOUS)}, where version {new} was made champion after {old or 'none'}: "
            "somebody else moved them at the same time; look at `ganpipe history` and try again"
        )
    _record(client, planned)
    _forget(client, planned)
    done = audit.published(client, planned)
    on_move(done)
    return done


def _record(client: MlflowClient, done: Move) -> None:
    there = aliases(client, done.model)
    client.delete_model_version_tag(done.model, done.version, REPLACED)
    if done.previous and existing(client, done.model, done.previous):
        client.set_model_version_tag(done.model, done.previous, REPLACED, done.version)
    audit.write(client, done)
    last_left(client, done.model, done.version, there.get(PREVIOUS, ""))


def _forget(client: MlflowClient, planned: Move) -> None:
    client.delete_registered_model_tag(planned.model, MOVING)
    client.delete_model_version_tag(planned.model, planned.version, INTENT)


def outages(uri: str) -> AbstractContextManager[None]:
    """`tracking.named_outages` with the way out for whoever moves an alias."""
    return named_outages(
        uri,
        "try again when it answers; an alias that was on its way is brought there by the next "
        "command, `ganpipe history` too",
    )
