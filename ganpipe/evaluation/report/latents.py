"""What a generator shows when its latents are chosen: ways between them, truncation, classes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ganpipe.evaluation.report.content import Images, Sweep
from ganpipe.images import to_uint8
from ganpipe.networks import Generator, sample
from ganpipe.networks.generator import GRID_PURPOSE, latent_vectors

BATCH = 64  # the network always sees this many, as in `sample`: the last bits depend on it
LEVELS = (0.25, 0.5, 0.7, 0.85, 1.0)
MOST_CLASSES = 50


def from_latents(
    generator: Generator, latents: NDArray[np.float32], labels: NDArray[np.int64] | None = None
) -> Images:
    """Images uint8 [n, H, W, C] of given latents float32 [n, latent] and classes int64 [n]."""
    device = next(generator.network.parameters()).device
    count = len(latents)
    rest = -count % BATCH
    padded = torch.from_numpy(np.pad(latents, ((0, rest), (0, 0)))).to(device)
    classes = None if labels is None else torch.from_numpy(np.pad(labels, (0, rest))).to(device)
    parts = []
    for first in range(0, count, BATCH):
        block = slice(first, first + BATCH)
        with torch.inference_mode():
            made = generator.network(padded[block], None if classes is None else classes[block])
        parts.append(to_uint8(made.float().permute(0, 2, 3, 1).cpu().numpy()))
    return np.concatenate(parts)[:count]


def spherical(
    start: NDArray[np.float32], end: NDArray[np.float32], shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Latents float32 [steps, latent] on the arc between two vectors [latent], ends included.

    White, "Sampling generative networks" (2016), section 2.1: on a straight line the latents
    would be shorter in the middle than any that the generator was trained with. Parallel vectors
    have no arc and are joined by a line.
    """
    first, last = start.astype(np.float64), end.astype(np.float64)
    lengths = np.linalg.norm(first) * np.linalg.norm(last)
    angle = np.arccos(np.clip(first @ last / lengths, -1.0, 1.0)) if lengths else 0.0
    sine = np.sin(angle)
    if sine < 1e-6:
        weights = np.stack([1.0 - shares, shares], axis=1)
    else:
        weights = np.stack([np.sin((1.0 - shares) * angle), np.sin(shares * angle)], axis=1) / sine
    path: NDArray[np.float32] = (weights @ np.stack([first, last])).astype(np.float32)
    return path


def interpolations(generator: Generator, seed: int, rows: int = 6, steps: int = 9) -> Images:
    """Images uint8 [rows, steps, H, W, C] on the arcs between pairs of latents.

    With classes, each row is of one class, the classes in turn.
    """
    config = generator.config
    ends = latent_vectors(config, seed, "interpolations", 0, 2 * rows)
    shares = np.linspace(0.0, 1.0, steps)
    paths = [spherical(ends[2 * row], ends[2 * row + 1], shares) for row in range(rows)]
    labels = None
    if config.classes:
        labels = np.repeat(np.arange(rows, dtype=np.int64) % config.classes, steps)
    made = from_latents(generator, np.concatenate(paths), labels)
    return made.reshape(rows, steps, *made.shape[1:])


def truncation_sweep(
    generator: Generator, seed: int, count: int = 8, levels: tuple[float, ...] = LEVELS
) -> Sweep:
    """The first `count` latents of the fixed grid, each at every truncation level."""
    made = [sample(generator, count, seed, level, purpose=GRID_PURPOSE) for level in levels]
    return Sweep(levels, np.stack(made))


def class_samples(
    generator: Generator, seed: int, count: int = 10, most: int = MOST_CLASSES
) -> list[Images]:
    """Images uint8 [count, H, W, C] of each of the first `most` classes, from the same latents.

    Empty for a generator without classes.
    """
    return [
        sample(generator, count, seed, purpose="classes", label=label)
        for label in range(min(generator.config.classes, most))
    ]
