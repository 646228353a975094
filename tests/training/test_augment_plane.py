"""What augmentations do to the plane, against numpy and scipy."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from ganpipe.training.augment import ada, affine
from ganpipe.training.augment.draws import Draws
from ganpipe.training.augment.resample import move
from tests.training.augmenting import ALWAYS, SHAPES, draws, images, many, take

shapes = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))


@shapes
def test_flips_are_exact(shape):
    shown = images(1, shape)
    motion = ada.flip(take(0.75, 0, dtype=torch.float32))
    assert np.array_equal(move(shown, motion).numpy(), shown.numpy()[..., ::-1])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [4, 7, 28])
def test_quarter_turns_are_exact(size, quarters):
    shown = images(1, (3, size, size))
    motion = ada.quarter_turn(take(quarters / 4 + 0.1, 0, dtype=torch.float32), square=True)
    expected = np.rot90(shown.numpy(), -quarters, axes=(2, 3))
    assert np.array_equal(move(shown, motion).numpy(), expected)


def test_rectangles_are_turned_by_halves():
    shown = images(1, (1, 6, 9))
    motion = ada.quarter_turn(take(0.9, 0, dtype=torch.float32), square=False)
    assert np.array_equal(move(shown, motion).numpy(), shown.numpy()[..., ::-1, ::-1])


def test_shifts_by_whole_pixels_are_exact_and_mirrored_at_the_edges():
    shown = images(1, (1, 16, 24))
    motion = ada.whole_shift(take(0.99, 0.01, 0, dtype=torch.float32), 16, 24)
    assert motion.offset.tolist() == [[3, -2]]
    padded = np.pad(shown.numpy()[0, 0], ((0, 2), (3, 0)), mode="reflect")
    assert np.array_equal(move(shown, motion).numpy()[0, 0], padded[2:, :24])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 16, 24), (1, 4, 5)])
def test_motions_are_those_of_scipy(shape, seed):
    """Every pixel: scipy's mode mirror continues an image as ours does."""
    shown = images(1, shape, torch.float64)
    taken = Draws(draws(1, seed), ALWAYS, torch.float64)
    motion = ada.motion(taken, *shape[1:])
    found = move(shown, motion)[0].numpy()
    # rows before columns, corners instead of centres
    forth = motion.linear[0].numpy()[::-1, ::-1]
    centre = (np.array(shape[1:]) - 1) / 2
    back = np.linalg.inv(forth)
    offset = centre - back @ (centre + motion.offset[0].numpy()[::-1])
    for channel, image in enumerate(shown[0].numpy()):
        expected = ndimage.affine_transform(image, back, offset, order=1, mode="mirror")
        assert np.allclose(found[channel], expected, atol=1e-9)


def test_a_motion_and_its_inverse_cancel():
    motion = ada.motion(many(count=50), 28, 20)
    still = motion.then(motion.inverse())
    assert torch.allclose(still.linear, torch.eye(2, dtype=torch.float64).expand(50, 2, 2))
    assert torch.allclose(still.offset, torch.zeros(50, 2, dtype=torch.float64), atol=1e-9)


def test_below_strength_1_the_upright_image_stays_the_most_frequent():
    """What keeps quarter turns from leaking: Karras et al. 2020, section 2.2."""
    upright = torch.tensor([[[[1.0, 2, 3, 4]] * 4]])
    turned = move(
        upright.expand(4000, -1, -1, -1),
        ada.quarter_turn(Draws(draws(4000), torch.tensor(0.75)), square=True),
    )
    shares = [
        (turned == torch.rot90(upright, k, (2, 3))).flatten(1).all(dim=1).double().mean().item()
        for k in range(4)
    ]
    assert sum(shares) == pytest.approx(1)
    assert shares == pytest.approx([0.25 + 0.75 / 4] + [0.75 / 4] * 3, abs=0.03)


def test_products_of_matrices_are_numpys():
    random = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 5, 3, 3, generator=random, dtype=torch.float64)
    assert np.allclose(affine.product(one, two), one.numpy() @ two.numpy())
