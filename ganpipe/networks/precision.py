"""What is computed in at least float32, whatever the rest of a network computes in."""

from __future__ import annotations

import torch
from torch import Tensor


def full(values: Tensor) -> Tensor:
    """In at least float32: sums of bfloat16 lose their small terms."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
