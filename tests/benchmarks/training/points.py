"""25 Gaussians in the plane, and small networks that learn them: images of 1x1 pixel, 2 channels.

A 5x5 grid with spacing 2 and standard deviation 0.05, as in Lin et al., "PacGAN" (NeurIPS 2018),
section 4.1. All is divided by 4.5, so that it lies in [-1, 1]; no unit of the counts changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.networks import NetworkConfig
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training.trainer import Networks, Trainer

SCALE = 1.0 / 4.5
SPACING, DEVIATION = 2.0 * SCALE, 0.05 * SCALE
CENTRES = SPACING * np.indices((5, 5)).reshape(2, 25).T - 2.0 * SPACING
SAMPLES = 10_000
NEAR = 3.0  # standard deviations; of a Gaussian in the plane 98.9 % lie within
FOUND = 0.05  # share of a mode's due samples from which on it counts as found: 20 of 400

MODEL = ModelParams(architecture="mlp", latent=8, width=128, max_width=128, blocks=3)
# threads: products of 128x128 are over before a second thread has begun
TRAIN = TrainParams(
    device="cpu", precision="float32", threads=1, batch=256, kimg=2500, lr=1e-3, lr_final=1e-5,
    schedule="cosine", beta2=0.99, r1=0.01, r2=0.01, ema_kimg=10.0,
)  # fmt: skip


@dataclass(frozen=True)
class Modes:
    """What a generator of points has learnt."""

    found: int
    """Of the 25."""
    quality: float
    """Share of the samples that lie within three standard deviations of a centre."""
    smallest: float
    """Samples near the centre that has the fewest, as a share of its due."""


def points(seed: int, first: int, count: int) -> NDArray[np.float32]:
    """Real points number `first` onwards: float32 [count, 2]."""
    places = randomness.choices(seed, "centres", first, count, [1] * len(CENTRES))
    noise = randomness.normals(seed, "points", first, count, 2)
    return np.asarray(CENTRES[places] + DEVIATION * noise, np.float32)


def count_modes(made: NDArray[np.float32]) -> Modes:
    """Modes among points float32 [n, 2]."""
    distances = np.linalg.norm(made[:, None] - CENTRES, axis=-1)
    near = distances.min(axis=1) <= NEAR * DEVIATION
    counts = np.bincount(distances.argmin(axis=1)[near], minlength=len(CENTRES))
    due = len(made) / len(CENTRES)
    return Modes(int((counts >= FOUND * due).sum()), float(near.mean()), float(counts.min() / due))


def train_on_points(train: TrainParams, model: ModelParams = MODEL) -> NDArray[np.float32]:
    """Train, and return SAMPLES points float32 [n, 2] of the moving average."""
    config = NetworkConfig.of(model, 1, 1, 2)
    trainer = Trainer(Networks.fresh(config, train), train)
    while trainer.images < train.kimg * 1000:
        shown, batch = trainer.images, train.batch
        real = torch.from_numpy(points(train.seed, shown, batch))[:, :, None, None]
        latents = randomness.normals(train.seed, "latents", shown, batch, model.latent)
        trainer.step(real, torch.from_numpy(latents))
    latents = randomness.normals(train.seed, "counted", 0, SAMPLES, model.latent)
    with torch.inference_mode():
        made = trainer.networks.average(torch.from_numpy(latents))
    return np.asarray(made.flatten(1), np.float32)
