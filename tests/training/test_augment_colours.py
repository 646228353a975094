"""What augmentations do to colours, and the operations of diffaugment, by their formulas."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.spatial.transform import Rotation

from ganpipe.training.augment import ada, diffaugment
from ganpipe.training.augment.draws import Draws
from tests.training.augmenting import ALWAYS, draws, images, many, take


def _colour(change):
    return change.linear[0].numpy(), change.offset[0].numpy()


def _apply(change, colour):
    linear, offset = _colour(change)
    return linear @ np.array(colour) + offset


PINK = (0.9, -0.2, 0.4)


def test_hue_turns_around_the_grey_axis():
    change = ada.turn_hue(take(0.8, 0))
    reference = Rotation.from_rotvec(0.6 * np.pi * np.ones(3) / np.sqrt(3)).as_matrix()
    assert np.allclose(_colour(change)[0], reference)
    assert np.allclose(_apply(ada.turn_hue(take(0.5 + 1 / 3, 0)), PINK), np.roll(PINK, 1))


def test_luma_is_inverted_and_colour_is_kept():
    inverted = _apply(ada.invert_luma(take(0.5, 0), 3), PINK)
    assert inverted.mean() == pytest.approx(-np.mean(PINK))
    assert np.allclose(inverted - inverted.mean(), PINK - np.mean(PINK))
    assert _apply(ada.invert_luma(take(0.5, 0), 1), [0.3]) == pytest.approx([-0.3])


def test_saturation_contrast_and_brightness_are_their_formulas():
    one_sigma = stats.norm.cdf(1)
    grey = np.mean(PINK)
    saturated = _apply(ada.saturate(take(one_sigma, 0)), PINK)
    assert np.allclose(saturated, grey + 2 * (np.array(PINK) - grey), atol=1e-5)
    contrasted = _apply(ada.contrast(take(one_sigma, 0), 3), PINK)
    assert np.allclose(contrasted, np.sqrt(2) * np.array(PINK), atol=1e-5)
    brighter = _apply(ada.brightness(take(one_sigma, 0), 3), PINK)
    assert np.allclose(brighter, np.add(PINK, 0.2), atol=1e-5)


def test_colours_come_one_after_the_other():
    taken = take(stats.norm.cdf(1), 0, stats.norm.cdf(2), 0, 0.9, 0)
    assert _apply(ada.colours(taken, 1), [0.3]) == pytest.approx([-2 * (0.3 + 0.2)], abs=1e-5)


def test_images_are_recoloured_by_their_own_map():
    shown = images(2, (3, 4, 5), torch.float64)
    change = ada.colours(Draws(draws(2), ALWAYS, torch.float64), 3)
    found = ada.recolour(shown, change)
    for image, linear, offset, made in zip(shown, *change, found, strict=True):
        by_hand = np.einsum("ij,jhw->ihw", linear, image) + offset.numpy()[:, None, None]
        assert np.allclose(made, by_hand)


def test_grey_pixels_of_colour_images_stay_grey():
    grey = images(50, (1, 6, 6), torch.float64).expand(-1, 3, -1, -1)
    made = ada.recolour(grey, ada.colours(many(count=50), 3))
    assert torch.allclose(made, made[:, :1].expand(-1, 3, -1, -1), atol=1e-9)


@pytest.mark.parametrize(
    ("operation", "formula"),
    [
        ("brightness", lambda x, u: x + u - 0.5),
        (
            "saturation",
            lambda x, u: (x - x.mean(1, keepdims=True)) * 2 * u + x.mean(1, keepdims=True),
        ),
        ("contrast", lambda x, u: (x - x.mean()) * (u + 0.5) + x.mean()),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_of_diffaugment_are_the_formulas_of_its_paper(operation, formula, channels):
    shown = images(1, (channels, 6, 5), torch.float64)
    found = getattr(diffaugment, operation)(shown, take(0.7, 0)).numpy()
    assert np.allclose(found, formula(shown.numpy(), 0.7))
    if (operation, channels) == ("saturation", 1):
        assert np.array_equal(found, shown.numpy())


def test_shifts_of_diffaugment_are_exact_with_mid_grey_behind():
    shown = images(1, (3, 16, 24))
    found = diffaugment.translation(shown, take(0.999, 0.0, 0, dtype=torch.float32))[0].numpy()
    expected = np.zeros((3, 16, 24), np.float32)
    expected[:, 2:, :21] = shown.numpy()[0, :, :14, 3:]
    assert np.array_equal(found, expected)


def test_every_shift_up_to_an_eighth_is_as_likely():
    marked = torch.zeros(20_000, 1, 16, 8)
    marked[:, :, 8, 4] = 1.0
    shifted = diffaugment.translation(marked, Draws(draws(20_000), ALWAYS))
    counts = shifted.sum(dim=0)[0]
    assert counts.sum() == 20_000
    assert counts[6:11, 3:6].sum() == 20_000
    assert stats.chisquare(counts[6:11, 3:6].flatten().numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("row", "column", "hole"), [(0.5, 0.5, 1), (0.0, 0.5, 1 / 2), (0, 0, 1 / 4)]
)
def test_a_hole_has_half_the_size_and_may_lie_beyond_an_edge(row, column, hole):
    shown = torch.ones(1, 3, 16, 24)
    found = diffaugment.cutout(shown, take(row, column, 0, dtype=torch.float32))
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert (found == 0).sum().item() == hole * 3 * 8 * 12
    if hole == 1:
        assert (found[:, :, 4:12, 6:18] == 0).all()
