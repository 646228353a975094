"""What images go through before the discriminator, so that few of them last longer.

Real and generated images go through the same kind of augmentation, so the discriminator cannot
learn the few real images by heart, and the generator learns through it to make images that are
right before it. A penalty on the discriminator's gradient is taken at the augmented images.

All that is random is a function of the draws given (batches.py), nothing waits for the device,
and every operation has a deterministic backward pass, also on CUDA (as listed by
torch.use_deterministic_algorithms; not run there yet).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganpipe.params import TrainParams
from ganpipe.training.augment import ada, diffaugment

Policy = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Images float [n, C, H, W], draws float [n, EACH] and strength [] to images."""

EACH = 32
DRAWS = 1 + 2 * EACH  # the first is for the points of WGAN-GP's penalty


def split(draws: Tensor) -> tuple[Tensor, Tensor]:
    """The draws of real and of generated images: float [n, EACH] each."""
    return draws[:, 1 : 1 + EACH], draws[:, 1 + EACH :]


POLICIES: dict[str, Policy] = {"diffaugment": diffaugment.apply, "ada": ada.apply}

SAFE = {"none": 1.0, "diffaugment": 1.0, "ada": 0.8}
"""The largest strength at which generated images do not take over the augmentations."""


def leaks(strength: float, policy: str) -> bool:
    """Whether augmentations at this strength can show in what the generator makes.

    An augmentation does not leak as long as the distribution of images can be told from that of
    augmented images. Karras et al., "Training generative adversarial networks with limited data"
    (NeurIPS 2020), section 2.2: turned by a random quarter in less than 100 % of cases, images
    are most often upright, and the generator finds out; in practice they found probabilities up
    to 0.8 safe. diffaugment's changes are small and published at strength 1 (Zhao et al., NeurIPS
    2020); nothing guarantees that they do not leak there.
    """
    return strength > SAFE[policy]


@torch.no_grad()
def adapt_(strength: Tensor, rank: Tensor, images: int, params: TrainParams) -> None:
    """Move ada's strength by one step, in place, within [0, train.augment_limit].

    Up where the discriminator ranks more than train.ada_target of real-fake pairs rightly, down
    where fewer: Karras et al. 2020, section 3, with a share of pairs in the place of the signs
    of scores, which have no zero under a relativistic loss.
    """
    towards = torch.sign(rank - params.ada_target)
    strength.add_(towards * (images / (params.ada_kimg * 1000.0))).clamp_(0.0, params.augment_limit)
