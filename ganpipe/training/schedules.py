"""What changes during a run, as functions of the images shown so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ganpipe.params import TrainParams


@dataclass(frozen=True)
class Settings:
    """The scheduled parameters of one step."""

    lr: float
    beta2: float
    r1: float
    r2: float
    ema_kimg: float
    augment_strength: float


def settings(params: TrainParams, images: int) -> Settings:
    """What holds for the step after `images` shown images."""
    way = progress(params.schedule, images, params.schedule_kimg or params.kimg)

    def now(start: float, final: float | None) -> float:
        # exactly the start value without a schedule: no rounding
        return start if final is None or way == 0.0 else start + (final - start) * way

    warmth = min(1.0, images / (params.warmup_kimg * 1000.0)) if params.warmup_kimg else 1.0
    return Settings(
        lr=now(params.lr, params.lr_final) * warmth,
        beta2=now(params.beta2, params.beta2_final),
        r1=now(params.r1, params.r1_final),
        r2=now(params.r2, params.r2_final),
        ema_kimg=now(params.ema_kimg, params.ema_kimg_final),
        augment_strength=now(params.augment_strength, params.augment_final),
    )


def progress(schedule: str, images: int, kimg: float) -> float:
    """The share of the way from a start value to a final one: 0 at first, 1 from `kimg` on.

    cosine is (1 - cos(pi t)) / 2 of the share t of the images (Loshchilov and Hutter, "SGDR",
    ICLR 2017, equation 5, without restarts; Huang et al. 2024, appendix D, for all of these).
    """
    share = min(images / (kimg * 1000.0), 1.0)
    if schedule == "cosine":
        return 0.5 * (1.0 - math.cos(math.pi * share))
    return share if schedule == "linear" else 0.0


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
