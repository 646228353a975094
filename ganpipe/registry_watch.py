"""Notices within a minute when somebody moves an alias in MLflow's own page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event

from ganpipe.errors import GanpipeError
from ganpipe.registry import Move

SECONDS = 30.0
log = logging.getLogger(__name__)


def watch_registry(
    stop: Event,
    look: Callable[[], Move | None],
    on_move: Callable[[Move], None],
    say: Callable[[str], None],
    seconds: float = SECONDS,
    wake: Event | None = None,
) -> None:
    """Call `look` every `seconds`, or when `wake` is set, until `stop` is; finds go to `on_move`.

    `look` is `registry.reconcile` with its arguments, which needs the lock only where something
    was moved. That MLflow is down is told to `say` once, and once when it is back.
    """
    down = False
    while not stop.is_set():
        if wake is not None:
            wake.clear()  # whoever calls from here on is answered by another look
        try:
            move = look()
        except GanpipeError as problem:
            if not down:
                say(f"what is moved by hand in MLflow is not noticed for now: {problem}")
            down = True
        except Exception:  # a watch that ends would notice nothing any more
            log.exception("looking for aliases that were moved in MLflow")
        else:
            if down:
                say("what is moved by hand in MLflow is noticed again")
            down = False
            if move is not None:
                on_move(move)
        (wake or stop).wait(seconds)
