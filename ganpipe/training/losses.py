"""The objectives of both networks: pure functions of scores and gradients, no device, no logging.

Every loss returns one value for each image (float [n]); the caller takes the mean.
Scores are the discriminator's raw outputs (logits), larger means more real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from ganpipe.networks.precision import full


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


def lsgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """((D(x) - 1)^2 + D(G(z))^2) / 2.

    Mao et al., "Least squares generative adversarial networks" (ICCV 2017), equation 9.
    """
    return 0.5 * ((real - 1.0).square() + fake.square())


def lsgan_generator(real: Tensor, fake: Tensor) -> Tensor:
    """(D(G(z)) - 1)^2 / 2 (ibid.)."""
    del real
    return 0.5 * (fake - 1.0).square()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))).

    Lim and Ye, "Geometric GAN" (2017); Miyato et al., "Spectral normalization for generative
    adversarial networks" (ICLR 2018), equation 16.
    """
    return relu(1.0 - real) + relu(1.0 + fake)


def wgan_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x): minus the Wasserstein distance, where D is 1-Lipschitz.

    Arjovsky, Chintala and Bottou, "Wasserstein GAN" (ICML 2017), equation 3. Without a penalty
    (train.gp, or train.r1 and train.r2) nothing bounds it.
    """
    return fake - real


def raise_score(real: Tensor, fake: Tensor) -> Tensor:
    """-D(G(z)): the generator of both, hinge and Wasserstein."""
    del real
    return -fake


def logistic_l1_generator(real: Tensor, fake: Tensor) -> Tensor:
    """|sigmoid(D(G(z))) - 1|, as the tutorial behind the preset article-dense-conv prints it."""
    del real
    return torch.sigmoid(-fake)


def fakeness_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """F(x) + 1 - F(G(z)) with the fakeness F = 1 - sigmoid(D): article-least-squares."""
    return torch.sigmoid(-real) + 1.0 - torch.sigmoid(-fake)


def fakeness_generator(real: Tensor, fake: Tensor) -> Tensor:
    """F(G(z))^2 with the fakeness F = 1 - sigmoid(D), also (1 - sigmoid(D(G(z))))^2."""
    del real
    return torch.sigmoid(-fake).square()


def one_sided_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """P(G(z))^2 + 1 - P(x) with the probability P = sigmoid(D): article-celeba."""
    return torch.sigmoid(fake).square() + torch.sigmoid(-real)


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
    "lsgan": Loss(lsgan_discriminator, lsgan_generator, relativistic=False),
    "hinge": Loss(hinge_discriminator, raise_score, relativistic=False),
    "wgan": Loss(wgan_discriminator, raise_score, relativistic=False),
    "logistic-l1": Loss(ns_discriminator, logistic_l1_generator, relativistic=False),
    "fakeness": Loss(fakeness_discriminator, fakeness_generator, relativistic=False),
    "one-sided": Loss(one_sided_discriminator, fakeness_generator, relativistic=False),
}


def gradient_penalty(images: Tensor, scores: Tensor) -> Tensor:
    """||dD/dx||^2 of each image, float32 [n], differentiable: R1 on real, R2 on generated ones.

    Mescheder et al., "Which training methods for GANs do actually converge?" (ICML 2018),
    equations 9 and 10 (which weigh it by gamma / 2). Right as long as a score depends on its
    own image alone, so not with BatchNorm in the discriminator.
    """
    return squared_gradient_norm(images, scores)


def lipschitz_penalty(images: Tensor, scores: Tensor) -> Tensor:
    """(||dD/dx|| - 1)^2 of each image, float32 [n], at points between real and generated ones.

    Gulrajani et al., "Improved training of Wasserstein GANs" (NeurIPS 2017), equation 3.
    """
    # the root has no derivative at 0
    return ((squared_gradient_norm(images, scores) + 1e-12).sqrt() - 1.0).square()


def squared_gradient_norm(images: Tensor, scores: Tensor) -> Tensor:
    """||dD/dx||^2 of each image: at least float32 [n], differentiable."""
    (gradient,) = torch.autograd.grad(outputs=scores.sum(), inputs=images, create_graph=True)
    return full(gradient).square().sum(dim=(1, 2, 3))
