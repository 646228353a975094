"""What a command did in the registry, told to the Prefect server of this checkout, if one runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows import prefect_server, services
from flows.server import embedded
from ganpipe import addresses

if TYPE_CHECKING:
    from ganpipe.registry import Move


def announce(state: Path, move: Move) -> None:
    """Emit the event of a move for automations to answer; no server is started for that."""
    url = os.environ.get("PREFECT_API_URL") or addresses.read(state).get("prefect")
    if not url or services.no_answer(f"{url.rstrip('/')}/health") is not None:
        return
    os.environ.update(prefect_server.settings(state, url))
    with embedded(state):
        from flows.registry_events import emit_move  # Prefect reads its environment on import

        emit_move(move)
