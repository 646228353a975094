"""SIGTERM as a wish that training grants: it saves its state and ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(SystemExit):
    """The run was asked to stop (SIGTERM); its state is saved."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class Stop:
    """Whether a signal asked the run to stop."""

    requested = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.requested = True


@contextmanager
def stop_signal() -> Iterator[Stop]:
    """Turn SIGTERM into a wish that the loop grants between two steps."""
    stop = Stop()
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
