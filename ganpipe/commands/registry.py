"""Commands: model versions, their promotion and what became of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ganpipe.registry import Move
    from ganpipe.registry.place import Place

Reason = Annotated[str, typer.Option(help="why; goes on record")]
LONGEST = 2000  # characters of what people wrote
Model = Annotated[str, typer.Option(help="name in the registry (default: register.model)")]


def promote(
    version: Annotated[str, typer.Argument(help="3, candidate (any alias), or models:/NAME/3")],
    reason: Reason,
    force: Annotated[bool, typer.Option(help="against the gate; that goes on record")] = False,
    model: Model = "",
) -> None:
    """Make a version champion, if the gate lets it and every byte of it can be found."""
    from ganpipe import registry

    here = open_registry(model)
    _notice(here)
    move = registry.promote(
        here.uri,
        here.model,
        version,
        reason=reason,
        force=force,
        lock=here.lock(),
        verify=here.verify,
        rules=here.asked.gate,
        margin=here.asked.margin,
    )
    _tell(here, move)


def rollback(reason: Reason, model: Model = "") -> None:
    """Make the previous champion champion again; twice brings the first state back."""
    from ganpipe import registry

    here = open_registry(model)
    _notice(here)
    _tell(
        here,
        registry.rollback(
            here.uri,
            here.model,
            reason=reason,
            lock=here.lock(),
            verify=here.verify,
            rules=here.asked.gate,
            margin=here.asked.margin,
        ),
    )


def history(
    model: Model = "",
    as_json: Annotated[bool, typer.Option("--json", help="with every rule and number")] = False,
) -> None:
    """List every decision on a model's versions, oldest first."""
    import json

    from ganpipe import registry
    from ganpipe.data.words import shown

    here = open_registry(model)
    _notice(here)
    moves = registry.history(here.uri, here.model)
    if as_json:
        print(json.dumps([json.loads(registry.to_json(move)) for move in moves], indent=2))
        return
    for move in moves:
        print(f"{move.at[:19].replace('T', ' ')}  version {move.version} {_what(move)}")
        print(f"  by {shown(move.by)}: {shown(move.reason, LONGEST)}")
        for result in move.decision.results:
            mark = "✓" if result.passed else "✗"
            print(f"  {mark} {result.rule}: {shown(result.told, LONGEST)}")
    if not moves:
        print(f"no version of {here.model} at {here.uri} was decided on yet")


def open_registry(model: str = "") -> Place:
    """A model's registry; the lock that machines share comes from flows."""
    from ganpipe.registry.place import open_place

    return open_place(model, _shared_lock)


def _shared_lock() -> AbstractContextManager[None]:
    from flows.locks import promotion_lock

    return promotion_lock()


def _notice(here: Place) -> None:
    """Say what was moved in MLflow itself, or completed, since the last command."""
    move = here.reconcile()
    if move is not None:
        print(f"noticed: version {move.version} {_what(move)} ({move.reason})")
        if not move.decision.passed:
            print(f"warning: the gate says no: {move.decision.reason}")
        _announce(here, move)


def _announce(here: Place, move: Move) -> None:
    from flows.announce import announce
    from ganpipe.workspace import state_folder

    announce(state_folder(here.repo), move)


def _tell(here: Place, move: Move) -> None:
    print(f"{move.model} version {move.version} {_what(move)}: {move.decision.reason}")
    if move.warning:
        print(f"warning: {move.warning}")
    if move.action == "refused":
        for result in move.decision.results:
            print(f"  {'✓' if result.passed else '✗'} {result.rule}: {result.told}")
        print("--force overrules the gate, but never bytes that cannot be found")
        raise typer.Exit(1)
    _announce(here, move)


def _what(move: Move) -> str:
    """What became of the version, and who was champion before or still is."""
    before = f" after version {move.previous}" if move.previous else ""
    if move.action == "promoted":
        return f"became champion{'' if move.decision.passed else ' by force'}{before}"
    if move.action == "rolled-back":
        return f"is champion again{before}"
    if move.action == "by-hand":
        return f"is champion by hand{before}"
    still = f", version {move.previous} stays champion" if move.previous else ""
    return f"{'waits for a person' if move.action == 'waiting' else 'was refused'}{still}"


COMMANDS: tuple[Callable[..., None], ...] = (promote, rollback, history)
