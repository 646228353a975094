"""What happens in the registry, as Prefect events that automations can answer."""

from __future__ import annotations

from prefect.events import emit_event

from ganpipe.registry import Move, Registration

MODEL = "ganpipe.model"
# by hand or not, another version is champion now; one that was restored is the same
HAPPENED = {"promoted": "promoted", "by-hand": "promoted", "rolled-back": "rolled-back"}


def emit_move(move: Move) -> None:
    """Tell that another version is champion; nothing for a promotion that was refused.

    `ganpipe.model.promoted` or `ganpipe.model.rolled-back`, of the resource
    `ganpipe.model.<name>`, with the version as a label and the rest as payload.
    """
    if move.action not in HAPPENED:
        return
    emit_event(
        f"{MODEL}.{HAPPENED[move.action]}",
        _resource(move.model, move.version),
        payload={
            "action": move.action,
            "version": move.version,
            "previous": move.previous,
            "by": move.by,
            "at": move.at,
            "reason": move.reason,
            "passed": move.decision.passed,
        },
    )


def emit_registered(registration: Registration) -> None:
    """Tell that there is a new version: `ganpipe.model.registered`."""
    emit_event(
        f"{MODEL}.registered",
        _resource(registration.model, registration.version),
        payload={
            "alias": registration.alias,
            "passed": registration.decision.passed,
            "reason": registration.decision.reason,
        },
    )


def _resource(model: str, version: str) -> dict[str, str]:
    return {
        "prefect.resource.id": f"{MODEL}.{model}",
        "prefect.resource.name": f"{model} version {version}",
        f"{MODEL}.version": version,
    }
