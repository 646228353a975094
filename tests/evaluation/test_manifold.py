"""Precision, recall, density, coverage: which is which, and what ties and copies do."""

import numpy as np
import pytest

from ganpipe.errors import GanpipeError
from ganpipe.evaluation import manifold as module
from ganpipe.evaluation.manifold import manifold, own_neighbours


def _vectors(seed, count, size=16, scale=1.0):
    return (np.random.default_rng(seed).normal(size=(count, size)) * scale).astype(np.float32)


def test_a_collapsed_generator_is_precise_and_recalls_little():
    """The convention: precision asks generated images, recall asks real ones."""
    real, collapsed = _vectors(0, 1000), _vectors(1, 1000, scale=0.1)
    found = manifold(real, collapsed)
    assert found.precision > 0.8
    assert found.recall < 0.3
    assert found.coverage < 0.3
    swapped = manifold(collapsed, real)
    assert swapped.precision < 0.3
    assert swapped.recall > 0.8


def test_a_wild_generator_recalls_much_and_is_not_precise():
    found = manifold(_vectors(0, 1000), _vectors(1, 1000, scale=3.0))
    assert found.precision < 0.3
    assert found.recall > 0.8
    assert found.density < 0.3


def test_equal_distributions_have_the_expectations_of_the_paper():
    """Naeem et al., section 4: density 1, coverage 1 - (n-1)...(n-k) / ((2n-1)...(2n-k))."""
    n, k = 1500, 5
    found = manifold(_vectors(2, n), _vectors(3, n), k_dc=k)
    parts = np.arange(1, k + 1)
    assert found.density == pytest.approx(1.0, abs=0.1)
    assert found.coverage == pytest.approx(1 - np.prod((n - parts) / (2 * n - parts)), abs=0.02)
    assert found.precision == pytest.approx(found.recall, abs=0.05)


def test_copies_lie_within_their_own_balls_even_of_no_extent():
    """Exact edges: distances of copies are 0, and a tie at the k-th neighbour is outside."""
    real = _vectors(4, 300) + 1000
    found = manifold(real, real.copy(), k_dc=5)
    assert (found.precision, found.recall, found.coverage) == (1.0, 1.0, 1.0)
    assert found.density == 1.0  # itself and 4 strictly nearer than the fifth
    constant = np.full((20, 16), 7.3, np.float32)
    found = manifold(constant, constant)
    assert (found.precision, found.recall) == (1.0, 1.0)
    assert (found.density, found.coverage) == (0.0, 0.0)
    several = np.repeat(_vectors(8, 30) * 100, 10, axis=0)
    found = manifold(several, several[::-1])
    assert (found.precision, found.recall) == (1.0, 1.0)
    assert (found.density, found.coverage) == (0.0, 0.0)


def test_blocks_stored_neighbours_and_order_change_nothing(monkeypatch):
    real, generated = _vectors(5, 211), _vectors(6, 130, scale=0.9)
    whole = manifold(real, generated)
    monkeypatch.setattr(module, "ROWS", 50)
    monkeypatch.setattr(module, "COLUMNS", 33)
    told = []
    stored = own_neighbours(real, 7)
    assert manifold(real, generated, real_neighbours=stored, advance=told.append) == whole
    assert sum(told) == 211 + 130
    order = np.random.default_rng(0).permutation(211)
    assert manifold(real[order], generated[::-1]) == whole


def test_unusable_input_is_refused():
    real = _vectors(7, 30)
    with pytest.raises(GanpipeError, match="at least 6 images on each side, there are 5"):
        manifold(real, real[:5])
    with pytest.raises(GanpipeError, match="run the stage reference"):
        manifold(real, real, real_neighbours=own_neighbours(real[:20], 5))
    with pytest.raises(GanpipeError, match="run the stage reference"):
        manifold(real, real, real_neighbours=own_neighbours(real, 4))
    with pytest.raises(GanpipeError, match="NaN"):
        manifold(real, real * np.nan)
