"""Losses: equal to values computed by hand, with the gradients that the equations say."""

import math

import pytest
import torch

from ganpipe.networks.precision import full
from ganpipe.training.losses import LOSSES, gradient_penalty, lipschitz_penalty

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
        (
            "logistic-l1",
            -math.log(_sigmoid(REAL)) - math.log(1 - _sigmoid(FAKE)),
            abs(_sigmoid(FAKE) - 1),
        ),
        (
            "fakeness",  # of x and of G(z): what the discriminator of that text puts out
            (1 - _sigmoid(REAL)) + 1 - (1 - _sigmoid(FAKE)),
            (1 - _sigmoid(FAKE)) ** 2,
        ),
        (
            "one-sided",
            _sigmoid(FAKE) ** 2 + (1 - _sigmoid(REAL)),
            (1 - _sigmoid(FAKE)) ** 2,
        ),
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
    assert len(LOSSES) == 8
    for loss in LOSSES.values():
        assert torch.isfinite(loss.discriminator(far, -far)).all()
        assert torch.isfinite(loss.generator(far, -far)).all()


def test_the_penalty_of_a_quadratic_critic_is_known():
    """D(x) = sum a x^2 / 2 has the gradient a x, so ||grad||^2 = a^2 sum x^2, image by image."""
    images = torch.randn(3, 2, 4, 4, dtype=torch.float64).requires_grad_()
    scores = 0.5 * 3.0 * images.square().sum(dim=(1, 2, 3))
    expected = 9.0 * images.detach().square().sum(dim=(1, 2, 3))
    assert torch.allclose(gradient_penalty(images, scores), expected, rtol=1e-12)
    lipschitz = (expected.sqrt() - 1).square()
    scores = 0.5 * 3.0 * images.square().sum(dim=(1, 2, 3))
    assert torch.allclose(lipschitz_penalty(images, scores), lipschitz, rtol=1e-9)


@pytest.mark.parametrize("penalty", [gradient_penalty, lipschitz_penalty])
def test_gradients_of_penalties_against_numeric_differentiation(penalty):
    """Of a critic with curvature, with respect to its weights, as training takes them."""
    random = torch.Generator().manual_seed(0)
    images = torch.randn(3, 1, 3, 3, dtype=torch.float64, generator=random)
    weight = torch.randn(9, dtype=torch.float64, generator=random).requires_grad_()

    def of(weight):
        asked = images.clone().requires_grad_()
        return penalty(asked, torch.tanh(asked.flatten(1) @ weight))

    assert torch.autograd.gradcheck(of, (weight,))


def test_a_critic_without_a_slope_keeps_the_penalty_finite():
    images = torch.zeros(2, 1, 2, 2, requires_grad=True)
    weight = torch.zeros(4, requires_grad=True)
    penalty = lipschitz_penalty(images, images.flatten(1) @ weight)
    penalty.sum().backward()
    assert torch.allclose(penalty, torch.ones(2))
    assert torch.isfinite(weight.grad).all()


def test_sums_are_taken_in_float32_at_least():
    assert full(torch.ones(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert full(torch.ones(1, dtype=torch.float64)).dtype == torch.float64


def test_the_penalty_can_be_differentiated_again():
    weight = torch.tensor(2.0, requires_grad=True)
    images = torch.ones(1, 1, 2, 2).requires_grad_()
    penalty = gradient_penalty(images, weight * images.sum(dim=(1, 2, 3)))
    penalty.sum().backward()
    # 4 pixels, gradient w each: the penalty is 4 w^2, its derivative 8 w
    assert penalty.item() == pytest.approx(16.0)
    assert weight.grad.item() == pytest.approx(16.0)
