"""The processes that train together: each takes its share of every batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class World:
    """This process among those that train together; all hold the same weights all the time."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what all have come to."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have come here."""

    def average_(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place."""

    def any(self, wish: bool) -> bool:
        """Whether any of the processes has this wish: the same answer in all."""
        return wish
