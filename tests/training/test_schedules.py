"""Schedules: time is counted in images."""

import math

import pytest

from ganpipe.params import TrainParams
from ganpipe.training.schedules import ema_decay, passed, settings

ENDS = {"lr": 1e-4, "beta2": 0.999, "r1": 0.0, "r2": 5.0, "ema_kimg": 500.0}
FINAL = {f"{name}_final": value for name, value in ENDS.items()} | {"augment_final": 0.5}


def test_without_final_values_nothing_changes_whatever_the_schedule():
    for schedule in ("constant", "linear", "cosine"):
        params = TrainParams(schedule=schedule)
        for images in (0, 12345, 10**7):
            now = settings(params, images)
            for name in [*ENDS, "augment_strength"]:
                assert getattr(now, name) == getattr(params, name), name


@pytest.mark.parametrize(
    ("schedule", "shares"),
    # by hand: (1 - cos(pi t)) / 2
    [
        ("linear", {0.0: 0.0, 0.25: 0.25, 0.5: 0.5, 1.0: 1.0, 7.0: 1.0}),
        ("cosine", {0.0: 0.0, 0.25: 0.146446609, 0.5: 0.5, 1.0: 1.0, 7.0: 1.0}),
    ],
)
def test_every_scheduled_value_goes_its_way_and_is_held(schedule, shares):
    params = TrainParams(schedule=schedule, schedule_kimg=200, kimg=10_000, **FINAL)
    for way, share in shares.items():
        now = settings(params, int(way * 200_000))
        for name, final in [*ENDS.items(), ("augment_strength", 0.5)]:
            start = getattr(params, name)
            expected = start + share * (final - start)
            assert getattr(now, name) == pytest.approx(expected, rel=1e-7), (way, name)


def test_a_schedule_without_a_length_takes_the_whole_run():
    params = TrainParams(schedule="cosine", kimg=100, lr=1e-3, lr_final=0.0)
    assert settings(params, 50_000).lr == pytest.approx(5e-4)
    assert settings(params, 100_000).lr == pytest.approx(0.0, abs=1e-12)


def test_warm_up_raises_the_rate_alone():
    params = TrainParams(warmup_kimg=10, lr=1e-3, schedule="cosine", kimg=100, lr_final=1e-4)
    assert settings(params, 0).lr == 0.0
    at = settings(params, 5_000)
    decayed = 1e-4 + 9e-4 * 0.5 * (1 + math.cos(math.pi * 0.05))
    assert at.lr == pytest.approx(0.5 * decayed)
    assert at.r1 == params.r1


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
