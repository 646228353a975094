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
NET = 300.0  # seconds between looks beside a webhook, which may be lost
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
    before = _notice(here)
    if before is not None and before.action == "promoted":  # whatever was asked for then
        asked = registry.find(here.uri, version, here.model)
        if (asked.name, str(asked.version)) == (before.model, before.version):
            return
    _tell(here.promote(version, reason, force=force))


def rollback(reason: Reason, model: Model = "") -> None:
    """Make the previous champion champion again; twice brings the first state back."""
    here = open_registry(model)
    before = _notice(here)
    if before is None or before.action != "rolled-back":  # else this one had been interrupted
        _tell(here.rollback(reason))


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
    for move in () if as_json else moves:
        print(f"{move.at[:19].replace('T', ' ')}  version {move.version} {_what(move)}")
        print(f"  by {shown(move.by)}: {shown(move.reason, LONGEST)}")
        for result in move.decision.results:
            mark = "✓" if result.passed else "✗"
            print(f"  {mark} {result.rule}: {shown(result.told, LONGEST)}")
    if not (moves or as_json):
        print(f"no version of {here.model} at {here.uri} was decided on yet")
    if any(move.action == "unreadable" for move in moves):
        raise typer.Exit(1)


def reconcile(
    model: Model = "",
    every: Annotated[
        float, typer.Option(help="seconds between looks, until Ctrl-C; 0: one look", min=0)
    ] = 0,
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="look too when MLflow's webhook calls, signed with GANPIPE_WEBHOOK_SECRET",
        ),
    ] = "",
) -> None:
    """Put on record what was moved in MLflow itself; complete what was interrupted."""
    here = open_registry(model)
    if every or listen:
        _watch(model, every or NET, listen)
    elif _notice(here) is None:
        print(f"nothing was moved in {here.model} at {here.uri} since the last command")


def _watch(model: str, every: float, listen: str) -> None:
    import signal
    from contextlib import ExitStack, suppress
    from threading import Event

    from ganpipe.registry_watch import watch_registry

    def say(line: str) -> None:
        print(line, flush=True)

    wake = Event()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        told = f"looks every {every:g} s"
        if listen:
            from ganpipe.registry_webhook import listening

            told += f", and for webhooks to {stack.enter_context(listening(listen, wake.set))}"
        say(f"{told} (Ctrl-C ends)")
        # each look finds params.yaml and MLflow where they are by then
        look = lambda: open_registry(model).reconcile()  # noqa: E731
        watch_registry(Event(), look, lambda move: say(_noticed(move)), say, every, wake)
    say("stopped")


def open_registry(model: str = "") -> Place:
    """A model's registry; the lock that machines share comes from flows."""
    from ganpipe.registry.place import open_place

    return open_place(model, _shared_lock, _announce)


def _shared_lock() -> AbstractContextManager[None]:
    from flows.locks import promotion_lock

    return promotion_lock()


def _announce(move: Move) -> None:
    from flows.announce import announce
    from ganpipe.workspace import repository, state_folder

    announce(state_folder(repository()), move)


def _notice(here: Place) -> Move | None:
    """Say what was moved in MLflow itself, or completed, since the last command."""
    move = here.reconcile()
    if move is not None:
        print(_noticed(move))
    return move


def _noticed(move: Move) -> str:
    known = move.action in ("promoted", "rolled-back")
    did = "completed what had been interrupted" if known else "noticed"
    told = f"{did}: version {move.version} {_what(move)} ({move.reason})"
    passed = move.decision.passed
    return told if passed else f"{told}\nwarning: the gate says no: {move.decision.reason}"


def _tell(move: Move) -> None:
    from ganpipe.registry.judge import VERIFY

    print(f"{move.model} version {move.version} {_what(move)}: {move.decision.reason}")
    if move.warning:
        print(f"warning: {move.warning}")
    if move.action == "refused":
        for result in move.decision.results:
            print(f"  {'✓' if result.passed else '✗'} {result.rule}: {result.told}")
        if all(each.passed for each in move.decision.results if each.rule == VERIFY):
            print("--force overrules the gate")
        raise typer.Exit(1)


def _what(move: Move) -> str:
    """What became of the version, and who was champion before or still is."""
    before = f" after version {move.previous}" if move.previous else ""
    if move.action == "promoted":
        return f"became champion{'' if move.decision.passed else ' by force'}{before}"
    if move.action == "rolled-back":
        return f"is champion again{before}"
    if move.action == "by-hand":
        return f"is champion by hand{before}"
    if move.action == "restored":
        return "is champion, as it was"
    if move.action == "unreadable":
        return "was decided on, which cannot be read"
    still = f", version {move.previous} stays champion" if move.previous else ""
    return f"{'waits for a person' if move.action == 'waiting' else 'was refused'}{still}"


COMMANDS: tuple[Callable[..., None], ...] = (promote, rollback, history, reconcile)
