"""Functions that workers run in tests: importable there, and some of them deadly."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from ganpipe.data.examine import Facts, Limits, examine_all


def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


def double_slowly(items: list[int]) -> list[int]:
    time.sleep(0.05)
    return double(items)


def sleep(items: list[float]) -> list[int]:
    """Takes as long as its items say; results are the process ids of the worker."""
    time.sleep(sum(items))
    return [os.getpid()] * len(items)


def exit_at_13(items: list[int]) -> list[int]:
    if 13 in items:
        os._exit(1)
    return double(items)


def fault_at_13(items: list[int]) -> list[int]:
    if 13 in items:
        ctypes.string_at(0)
    return double(items)


def refuse_13(items: list[int]) -> list[int]:
    if 13 in items:
        raise ValueError("13 is not liked")
    return double(items)


def die_while_answering(items: list[str]) -> list[bytes]:
    """Killed once for each path in `items`, with half of the answer in the pipe."""
    if not all(Path(item).exists() for item in items):
        for item in items:
            Path(item).touch()

        def half(_: Connection, answer: bytes, write: object = None) -> None:
            os.write(_.fileno(), answer[: len(answer) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

        Connection._send = half
    return [bytes(200_000) for _ in items]


def never_start(_: Connection) -> None:
    """In place of a worker's loop."""
    sys.exit(3)


def examine_deadly(payloads: list[bytes], limits: Limits) -> list[Facts]:
    """Like examine_all, but for a file that ends whoever decodes it."""
    if any(b"DEADLY" in payload for payload in payloads):
        os.kill(os.getpid(), signal.SIGSEGV)
    return examine_all(payloads, limits)


def resize_none(payloads: list[bytes], shape: object) -> list[bytes]:
    """Like all_to_pixels, but it ends whoever runs it."""
    os._exit(1)
