"""What changes during a run, as functions of the images shown so far."""

from __future__ import annotations


def ema_decay(images: int, batch: int, half_life_kimg: float, rampup: float) -> float:
    """Weight of the old average after a step of `batch` images: 0.5 ** (batch / half-life).

    The half-life is at most `rampup` times the images shown, so that an early average forgets
    the untrained weights (Karras et al., "Training generative adversarial networks with limited
    data", NeurIPS 2020, as in its published training loop).
    """
    half_life = half_life_kimg * 1000.0
    if rampup > 0.0:
        half_life = min(half_life, images * rampup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


def passed(before: int, now: int, every_kimg: float) -> bool:
    """Whether a multiple of `every_kimg` thousand images lies in (before, now]."""
    every = every_kimg * 1000.0
    return int(now / every) > int(before / every)
