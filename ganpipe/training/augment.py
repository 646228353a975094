"""What images go through before the discriminator, so that few of them last longer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganpipe.params import TrainParams

Policy = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images float [n, C, H, W], draws float [n, EACH] and strength [] to images."""

EACH = 32
DRAWS = 1 + 2 * EACH  # the first is for the points of WGAN-GP's penalty


def split(draws: Tensor) -> tuple[Tensor, Tensor]:
    """The draws of real and of generated images: float [n, EACH] each."""
    return draws[:, 1 : 1 + EACH], draws[:, 1 + EACH :]


POLICIES: dict[str, Policy] = {}


@torch.no_grad()
def adapt_(strength: Tensor, rank: Tensor, images: int, params: TrainParams) -> None:
    """Move ada's strength by one step, in place, within [0, train.augment_limit]."""
    towards = torch.sign(rank - params.ada_target)
    strength.add_(towards * (images / (params.ada_kimg * 1000.0))).clamp_(0.0, params.augment_limit)
