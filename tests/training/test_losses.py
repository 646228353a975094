"""Losses: equal to values computed by hand, with the gradients that the equations say."""

import math

import pytest
import torch

from ganpipe.training.losses import LOSSES, gradient_penalty

REAL, FAKE = 1.5, -0.25


def _sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        (
            "rpgan",
            -math.log(_sigmoid(REAL - FAKE)),
            -math.log(_sigmoid(FAKE - REAL)),
        ),
        (
            "ns",
            -math.log(_sigmoid(REAL)) - math.log(1 - _sigmoid(FAKE)),
            -math.log(_sigmoid(FAKE)),
        ),
        ("lsgan", 0.5 * (REAL - 1) ** 2 + 0.5 * FAKE**2, 0.5 * (FAKE - 1) ** 2),
        ("hinge", max(0, 1 - REAL) + max(0, 1 + FAKE), -FAKE),
        ("wgan", FAKE - REAL, -FAKE),
    ],
)
def test_values_by_hand(name, discriminator, generator):
    real, fake = (torch.tensor([value], dtype=torch.float64) for value in (REAL, FAKE))
    assert LOSSES[name].discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-12)
    assert LOSSES[name].generator(real, fake).item() == pytest.approx(generator, rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_gradients_against_numeric_differentiation(name, side):
    scores = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    real, fake = scores.requires_grad_().unbind()
    assert torch.autograd.gradcheck(getattr(LOSSES[name], side), (real, fake))


def test_scores_far_apart_stay_finite():
    far = torch.tensor([1e4, -1e4])
    assert len(LOSSES) == 5
    for loss in LOSSES.values():
        assert torch.isfinite(loss.discriminator(far, -far)).all()
        assert torch.isfinite(loss.generator(far, -far)).all()


def test_the_penalty_of_a_quadratic_critic_is_known():
    """D(x) = sum a x^2 / 2 has the gradient a x, so ||grad||^2 = a^2 sum x^2, image by image."""
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64).requires_grad_()
    scores = 0.5 * 3.0 * images.square().sum(dim=(1, 2, 3))
    expected = 9.0 * images.detach().square().sum(dim=(1, 2, 3))
    assert torch.allclose(gradient_penalty(images, scores).double(), expected, rtol=1e-6)


def test_the_penalty_can_be_differentiated_again():
    weight = torch.tensor(2.0, requires_grad=True)
    images = torch.ones(1, 1, 2, 2).requires_grad_()
    penalty = gradient_penalty(images, weight * images.sum(dim=(1, 2, 3)))
    penalty.sum().backward()
    # 4 pixels, gradient w each: the penalty is 4 w^2, its derivative 8 w
    assert penalty.item() == pytest.approx(16.0)
    assert weight.grad.item() == pytest.approx(16.0)
