"""A stage under a flow stops when the flow is gone, however the flow ended."""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "GANPIPE_SUPERVISED"


def obey() -> None:
    """Treat the end of standard input as SIGTERM, when a flow asked for it.

    The flow holds the other end of that pipe. Its death, even by SIGKILL, closes it, whatever
    processes (dvc, a shell) stand between the two.
    """
    if os.environ.get(VARIABLE) == "1":
        threading.Thread(target=_watch, name="supervision", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
