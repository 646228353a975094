"""The objectives of both networks: pure functions of scores and gradients, no device, no logging.

Every loss returns one value for each image (float [n]); the caller takes the mean.
Scores are the discriminator's raw outputs (logits), larger means more real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus


def rpgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))): relativistic pairing.

    Jolicoeur-Martineau, "The relativistic discriminator" (ICLR 2019), as used in Huang et al.,
    "The GAN is dead; long live the GAN!" (NeurIPS 2024), equation 2.
    """
    return softplus(fake - real)


def rpgan_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)) - D(x)): the same pairs with the roles exchanged."""
    return softplus(real - fake)


def ns_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))).

    Goodfellow et al., "Generative adversarial nets" (NeurIPS 2014), equation 1.
    """
    return softplus(-real) + softplus(fake)


def ns_generator(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(G(z))): the non-saturating generator (ibid., section 3)."""
    del real
    return softplus(-fake)


@dataclass(frozen=True)
class Loss:
    """A pair of objectives; both take (real scores, fake scores), float [n] each."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    relativistic: bool
    """Whether the generator's objective needs the scores of real images."""


LOSSES = {
    "rpgan": Loss(rpgan_discriminator, rpgan_generator, relativistic=True),
    "ns": Loss(ns_discriminator, ns_generator, relativistic=False),
}


def gradient_penalty(images: Tensor, scores: Tensor) -> Tensor:
    """||dD/dx||^2 of each image, float32 [n], differentiable: R1 on real, R2 on generated ones.

    Mescheder et al., "Which training methods for GANs do actually converge?" (ICML 2018),
    equations 9 and 10 (which weigh it by gamma / 2). Right as long as a score depends on its
    own image alone, so not with BatchNorm in the discriminator.
    """
    (gradient,) = torch.autograd.grad(outputs=scores.sum(), inputs=images, create_graph=True)
    return gradient.float().square().sum(dim=(1, 2, 3))
