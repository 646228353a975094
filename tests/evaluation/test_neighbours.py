"""Nearest neighbours: those of an exhaustive search, also where float32 would lose them."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from ganpipe.errors import GanpipeError
from ganpipe.evaluation import neighbours
from ganpipe.evaluation.neighbours import nearest


def _vectors(seed, count, size=24, offset=0.0):
    return (np.random.default_rng(seed).normal(size=(count, size)) + offset).astype(np.float32)


@pytest.mark.parametrize("offset", [0.0, 500.0])
def test_agrees_with_an_exhaustive_search_in_any_blocks(monkeypatch, offset):
    """Also far from the origin, where a float32 product alone has no digits left."""
    monkeypatch.setattr(neighbours, "QUERIES", 37)
    monkeypatch.setattr(neighbours, "BASE", 53)
    queries, base = _vectors(0, 150, offset=offset), _vectors(1, 401, offset=offset)
    search = NearestNeighbors(algorithm="brute").fit(base.astype(np.float64) - offset)
    expected, where = search.kneighbors(queries.astype(np.float64) - offset, 4)
    distances, numbers = nearest(queries, base, 4)
    assert np.allclose(distances, expected, rtol=1e-9)
    assert np.array_equal(numbers, where)


def test_neighbours_within_distant_groups_are_exact():
    """Where no common origin helps float32: it confuses neighbours, which candidates make good."""
    base = _vectors(8, 2000)
    base[::2] += 200.0
    exact = np.array([np.linalg.norm(base.astype(np.float64) - row, axis=1) for row in base[:100]])
    assert np.allclose(nearest(base[:100], base, 4)[0], np.sort(exact)[:, :4], rtol=1e-12)


def test_copies_are_at_distance_zero_and_the_first_comes_first():
    base = _vectors(2, 60, offset=1000.0)
    base[40] = base[7]
    distances, numbers = nearest(base[[7, 9]], base, 2)
    assert distances[0].tolist() == [0.0, 0.0]
    assert numbers[0].tolist() == [7, 40]
    assert distances[1, 0] == 0.0
    assert distances[1, 1] > 0.0


def test_a_row_is_no_neighbour_of_its_own_but_its_twin_is(monkeypatch):
    monkeypatch.setattr(neighbours, "QUERIES", 16)
    monkeypatch.setattr(neighbours, "BASE", 20)
    rows = _vectors(3, 70)
    rows[33] = rows[5]
    distances, numbers = nearest(rows, rows, 3, without_self=True)
    assert not (numbers == np.arange(70)[:, None]).any()
    assert numbers[5, 0] == 33
    assert distances[5, 0] == 0.0


def test_progress_adds_up_to_the_queries(monkeypatch):
    monkeypatch.setattr(neighbours, "QUERIES", 16)
    told = []
    nearest(_vectors(4, 70), _vectors(5, 30), 1, told.append)
    assert sum(told) == 70
    assert len(told) == 5


def test_all_rows_can_be_asked_for_and_no_more():
    base = _vectors(6, 5)
    assert sorted(nearest(base[:1], base, 5)[1][0]) == [0, 1, 2, 3, 4]
    with pytest.raises(GanpipeError, match="need at least 6 images, there are 5"):
        nearest(base, base, 6)
    with pytest.raises(GanpipeError, match="need at least 6 images, there are 5"):
        nearest(base, base, 5, without_self=True)


def test_broken_and_foreign_features_are_refused():
    base = _vectors(7, 5)
    broken = base.copy()
    broken[1, 1] = np.inf
    with pytest.raises(GanpipeError, match="NaN or infinite"):
        nearest(base, broken, 1)
    with pytest.raises(GanpipeError, match="NaN or infinite"):
        nearest(broken, base, 1)
    with pytest.raises(GanpipeError, match="24 numbers cannot be compared with features of 23"):
        nearest(base, base[:, :23], 1)
