"""Affine maps, one for each image: of positions in the plane and of colours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Affine(NamedTuple):
    """v to linear v + offset, for column vectors v of k numbers."""

    linear: Tensor
    """float [n, k, k]."""
    offset: Tensor
    """float [n, k]."""

    def then(self, after: Affine) -> Affine:
        """This map, and `after` on what comes out."""
        return Affine(product(after.linear, self.linear), after(self.offset))

    def __call__(self, vectors: Tensor) -> Tensor:
        """Map one vector for each image: [n, k] to [n, k]."""
        return (self.linear * vectors[:, None]).sum(dim=2) + self.offset

    def changes(self) -> Tensor:
        """Which maps are not the identity: bool [n]."""
        same = torch.eye(self.linear.shape[1], dtype=self.linear.dtype, device=self.linear.device)
        return (self.linear != same).flatten(1).any(dim=1) | (self.offset != 0.0).any(dim=1)

    def inverse(self) -> Affine:
        """The way back, for maps of the plane (k = 2); exact for flips and quarter turns."""
        (a, b), (c, d) = (row.unbind(dim=1) for row in self.linear.unbind(dim=1))
        back = matrix([d, -b], [-c, a]) / (a * d - b * c)[:, None, None]
        return Affine(back, -(back * self.offset[:, None]).sum(dim=2))


def product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix products [n, k, k], as sums, since TF32 would round positions to whole pixels."""
    return (left[:, :, :, None] * right[:, None]).sum(dim=2)


def matrix(*rows: list[Tensor]) -> Tensor:
    """Matrices [n, k, k] from their entries [n]."""
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def linear(matrices: Tensor) -> Affine:
    """A linear map [n, k, k]."""
    return Affine(matrices, torch.zeros_like(matrices[:, 0]))


def shift(*offsets: Tensor) -> Affine:
    """A shift by as many numbers [n] as there are dimensions."""
    offset = torch.stack(offsets, dim=-1)
    same = torch.eye(len(offsets), dtype=offset.dtype, device=offset.device)
    return Affine(same.expand(len(offset), -1, -1), offset)
