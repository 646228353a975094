"""Whether a process of this machine is still there; its id alone may be another's by now."""

from __future__ import annotations

import os
from typing import Any

# boot time, from which start times are counted, is known in whole seconds and moves with the clock
TOLERANCE_SECONDS = 2.0


def own_mark() -> dict[str, Any]:
    """What `is_alive` needs to know this process again: `pid`, and `started` in Unix seconds."""
    pid = os.getpid()
    return {"pid": pid, "started": started(pid)}


def is_alive(mark: dict[str, Any]) -> bool:
    """Whether the process of a mark runs. Raises KeyError or ValueError for what is no mark."""
    began = started(int(mark["pid"]))
    return began is not None and abs(began - float(mark["started"])) <= TOLERANCE_SECONDS


def started(pid: int) -> float | None:
    """When a process started (Unix seconds); None when it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None
