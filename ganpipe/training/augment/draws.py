"""Random numbers of an augmentation, taken one after the other from the draws of each image."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Draws:
    """Hands out the columns of draws float [n, k], uniform in [0, 1), from the first on.

    strength: the probability [] that an augmentation is applied to an image.
    """

    def __init__(self, draws: Tensor, strength: Tensor, dtype: torch.dtype = torch.float32) -> None:
        self.strength, self.dtype = strength, dtype
        self._columns = iter(draws.unbind(dim=1))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Uniform in [low, high): [n]."""
        return low + (high - low) * next(self._columns).to(self.dtype)

    def normal(self) -> Tensor:
        """Standard normal by the inverse of its distribution, at most 5.5 away from 0: [n]."""
        # the middle of each step of 2^-24, so that 0 is not minus infinity
        return math.sqrt(2.0) * torch.erfinv(self.uniform(-1.0, 1.0) + 2.0**-24)

    def applied(self, values: Tensor, otherwise: Tensor | float, share: float = 1.0) -> Tensor:
        """`values` [n, ...] for images that the augmentation is applied to, else `otherwise`.

        share: turns the strength p into 1 - (1 - p) ** share, for augmentations in several parts.
        """
        chance = 1.0 - (1.0 - self.strength) ** share if share != 1.0 else self.strength
        chosen = next(self._columns) < chance
        return torch.where(each(chosen, values.dim()), values, otherwise)


def each(values: Tensor, dims: int = 4) -> Tensor:
    """One value for each image [n] as [n, 1, ...], to go with tensors of so many dimensions."""
    return values.view(-1, *[1] * (dims - 1))
