"""How often each operation of the augmentations is applied, and by how much."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ganpipe.training import augment
from ganpipe.training.augment import ada, diffaugment
from ganpipe.training.augment.draws import Draws
from tests.training.augmenting import ALWAYS, draws, images, many

CHANGES = {
    ada.flip: 1 / 2,
    lambda taken: ada.quarter_turn(taken, square=True): 3 / 4,
    lambda taken: ada.quarter_turn(taken, square=False): 1 / 2,
    lambda taken: ada.whole_shift(taken, 8000, 8000): 1,
    ada.scale: 1,
    lambda taken: ada.turn(taken).then(ada.turn(taken)): 1,
    ada.stretch: 1,
    lambda taken: ada.part_shift(taken, 28, 28): 1,
    lambda taken: ada.brightness(taken, 3): 1,
    lambda taken: ada.contrast(taken, 1): 1,
    lambda taken: ada.invert_luma(taken, 1): 1 / 2,
    ada.turn_hue: 1,
    ada.saturate: 1,
}


@pytest.mark.parametrize(("operation", "share"), list(CHANGES.items()))
@pytest.mark.parametrize("strength", [0.1, 0.6])
def test_strength_is_the_probability_of_each_operation_of_ada(operation, share, strength):
    changed = operation(many(strength)).changes().double().mean().item()
    assert changed == pytest.approx(strength * share, abs=4 * 0.5 / math.sqrt(20_000))


@pytest.mark.parametrize("operation", ["brightness", "saturation", "contrast", "cutout"])
def test_strength_is_the_probability_of_each_operation_of_diffaugment(operation):
    shown = images(8000, (3, 4, 4))
    taken = Draws(draws(8000), torch.tensor(0.3))
    changed = (getattr(diffaugment, operation)(shown, taken) != shown).flatten(1).any(dim=1)
    assert changed.double().mean().item() == pytest.approx(0.3, abs=4 * 0.5 / math.sqrt(8000))


def test_operations_are_applied_independently_of_each_other():
    taken = Draws(draws(20_000), torch.tensor(0.5))
    turned, scaled = ada.turn(taken).changes(), ada.scale(taken).changes()
    both = (turned & scaled).double().mean().item()
    expected = (1 - math.sqrt(0.5)) * 0.5
    assert both == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(20_000))


def test_normal_draws_are_the_inverse_of_the_distribution():
    share = torch.linspace(0, 1, 101, dtype=torch.float64)[1:-1]
    found = Draws(share[:, None], ALWAYS, torch.float64).normal()
    assert np.allclose(found, stats.norm.ppf(share), atol=1e-5)


def test_amounts_are_those_of_the_paper():
    """Karras et al. 2020, appendix B: distributions, against scipy's."""
    log2_scale = ada.scale(many()).linear[:, 0, 0].log2()
    log2_stretch = ada.stretch(many()).linear[:, 0, 0].log2()
    log2_contrast = ada.contrast(many(), 1).linear[:, 0, 0].log2()
    more_saturated = (3 * ada.saturate(many()).linear[:, 0, 0] - 1) / 2
    turned = ada.turn(many()).linear
    angle = torch.atan2(turned[:, 1, 0], turned[:, 0, 0])
    expected = {
        "scale": (log2_scale, stats.norm(0, 0.2)),
        "stretch": (log2_stretch, stats.norm(0, 0.2)),
        "contrast": (log2_contrast, stats.norm(0, 0.5)),
        "saturation": (more_saturated.log2(), stats.norm(0, 1)),
        "brightness": (ada.brightness(many(), 1).offset[:, 0], stats.norm(0, 0.2)),
        "x": (ada.part_shift(many(), 40, 80).offset[:, 0], stats.norm(0, 10)),
        "y": (ada.part_shift(many(), 40, 80).offset[:, 1], stats.norm(0, 5)),
        "angle": (angle, stats.uniform(-math.pi, 2 * math.pi)),
    }
    for name, (found, distribution) in expected.items():
        assert stats.kstest(found.numpy(), distribution.cdf).pvalue > 1e-3, name
    whole = ada.whole_shift(many(), 40, 80).offset
    assert torch.equal(whole, whole.round())
    assert whole.abs().amax(dim=0).tolist() == [10, 5]


@pytest.mark.parametrize(
    ("operations", "count"),
    [
        (lambda take: ada.motion(take, 28, 28), 8),
        (lambda take: ada.motion(take, 28, 20), 8),
        (lambda take: ada.colours(take, 3), 5),
        (lambda take: ada.colours(take, 1), 3),
    ],
)
def test_each_operation_of_ada_has_a_chance_of_its_own(operations, count):
    """Number k of as many images as there are draws has a chance of 0 in column k alone."""
    drawn = torch.full((augment.EACH, augment.EACH), 0.99).fill_diagonal_(0.0)
    changed = operations(Draws(drawn, torch.tensor(0.5), torch.float64)).changes()
    assert changed.sum() == count
