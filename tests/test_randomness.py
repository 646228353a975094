"""Randomness: a pure function of (seed, purpose, image number)."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ganpipe import randomness


@settings(deadline=None, max_examples=50)
@given(
    first=st.integers(0, 10**9),
    count=st.integers(1, 200),
    size=st.integers(1, 130),
    cut=st.integers(0, 199),
)
def test_any_split_of_a_request_draws_the_same_latents(first, count, size, cut):
    cut = min(cut, count)
    whole = randomness.normals(7, "latents", first, count, size)
    parts = [
        randomness.normals(7, "latents", first, cut, size),
        randomness.normals(7, "latents", first + cut, count - cut, size),
    ]
    assert np.array_equal(whole, np.concatenate([part.reshape(-1, size) for part in parts]))


def test_latents_are_standard_normal_and_independent():
    values = randomness.normals(0, "latents", 0, 4000, 50).astype(np.float64)
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(values.T) - np.eye(50)).max() < 0.08
    assert np.isfinite(values).all()


def test_uniforms_are_uniform_below_one_and_split_as_asked():
    values = randomness.uniforms(0, "draws", 0, 4000, 33)
    assert values.dtype == np.float32
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert stats.kstest(values.ravel().astype(np.float64), "uniform").pvalue > 1e-3
    assert np.array_equal(randomness.uniforms(0, "draws", 1000, 8, 33), values[1000:1008])


def test_seeds_and_purposes_draw_different_numbers():
    draws = [
        randomness.normals(seed, purpose, 0, 4, 8).tobytes()
        for seed in (0, 1)
        for purpose in ("latents", "grid")
    ]
    assert len(set(draws)) == 4


def test_golden_numbers_never_change():
    """A change here would make every saved run unrepeatable."""
    assert randomness.words(0, "latents", 5, 1, 2).tolist() == [GOLDEN_WORDS]
    assert randomness.permutation(0, "reals", 0, 8).tolist() == GOLDEN_ORDER


@given(first=st.integers(0, 10_000), count=st.integers(1, 300), size=st.integers(1, 97))
def test_an_epoch_shows_every_image_once(first, count, size):
    order = randomness.draw_order(3, "reals", first, count, size)
    numbers = np.arange(first, first + count)
    for epoch in np.unique(numbers // size):
        shown = order[numbers // size == epoch]
        assert len(set(shown.tolist())) == len(shown)
    whole = randomness.draw_order(3, "reals", 0, size, size)
    assert sorted(whole.tolist()) == list(range(size))


GOLDEN_WORDS = [4210408910523031907, 3010037816493032586]
GOLDEN_ORDER = [5, 1, 7, 3, 4, 6, 0, 2]
