"""What a command did in the registry, told to the Prefect server of this checkout, if one runs."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows import prefect_server
from flows.server import embedded, variables
from ganpipe import addresses
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    from ganpipe.registry import Move

log = logging.getLogger(__name__)


def announce(state: Path, move: Move) -> None:
    """Emit the event of a move for automations to answer; no server is started for that.

    The move stands: a server that does not answer is a warning.
    """
    url = os.environ.get("PREFECT_API_URL") or addresses.read(state).get("prefect")
    if not url:
        return
    try:
        # not for good: the next move may be told to another server of `make ui`
        with variables(prefect_server.settings(state, url)), embedded(state):
            from flows.registry_events import emit_move  # Prefect reads its environment on import

            emit_move(move)
    except GanpipeError as problem:
        log.warning("automations were not told of it: %s", problem)
