"""Schedules: time is counted in images."""

import pytest

from ganpipe.training.schedules import ema_decay, passed


def test_after_the_half_life_half_of_the_old_weights_is_left():
    whole = 1.0
    for _ in range(100):
        whole *= ema_decay(10**9, 50, half_life_kimg=5.0, rampup=0.0)
    assert whole == pytest.approx(0.5)


def test_the_half_life_does_not_depend_on_the_batch():
    assert ema_decay(10**9, 32, 5.0, 0.0) ** 4 == pytest.approx(ema_decay(10**9, 128, 5.0, 0.0))


def test_early_averages_forget_the_untrained_weights():
    assert ema_decay(0, 64, 10.0, 0.05) == 0.0
    assert ema_decay(1000, 50, 10.0, 0.05) == pytest.approx(0.5)
    assert ema_decay(10**9, 50, 10.0, 0.05) == ema_decay(10**9, 50, 10.0, 0.0)


@pytest.mark.parametrize(
    ("before", "now", "every", "expected"),
    [(0, 64, 1.0, False), (960, 1024, 1.0, True), (1000, 1064, 1.0, False), (0, 9000, 4.0, True)],
)
def test_passed(before, now, every, expected):
    assert passed(before, now, every) is expected
