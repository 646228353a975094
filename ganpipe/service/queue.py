"""How many requests make images at once, how many wait, and that the rest is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


class FullError(Exception):
    """No room to wait in."""


class GoneError(Exception):
    """Whoever asked went away before it was their turn."""


class WorkQueue:
    """First come, first served: `running` at once in threads, `waiting` behind them."""

    def __init__(self, running: int, waiting: int) -> None:
        self._turns = asyncio.Semaphore(running)
        self._room = running + waiting
        self.inside = 0
        """Requests that run or wait."""

    async def run(self, work: Callable[[], Result], gone: Callable[[], Awaitable[bool]]) -> Result:
        """What `work` returns, run in a thread. Raises FullError; GoneError if `gone` is true."""
        if self.inside >= self._room:
            raise FullError
        self.inside += 1
        try:
            async with self._turns:
                if await gone():
                    raise GoneError
                return await asyncio.to_thread(work)
        finally:
            self.inside -= 1
