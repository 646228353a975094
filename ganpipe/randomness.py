"""Every random draw is a pure function of (seed, purpose, image counter).

So a resumed run needs no generator state, any number of processes with the same global batch
draw the same latents and images, and the same run twice gives the same bytes. The source of
bits is Philox, a counter-based generator (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011): number k of image i is computed directly, without those before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_WORDS_PER_COUNT = 4  # Philox gives four 64-bit words for each value of its counter


def _key(seed: int, purpose: str) -> NDArray[np.uint64]:
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)


def words(seed: int, purpose: str, first: int, count: int, each: int) -> NDArray[np.uint64]:
    """Random 64-bit words for images `first` to `first + count - 1`: uint64 [count, each]."""
    counts = -(-each // _WORDS_PER_COUNT)
    bits = np.random.Philox(key=_key(seed, purpose)).advance(first * counts)
    raw = bits.random_raw(count * counts * _WORDS_PER_COUNT)
    return np.asarray(raw, dtype=np.uint64).reshape(count, counts * _WORDS_PER_COUNT)[:, :each]


def normals(seed: int, purpose: str, first: int, count: int, size: int) -> NDArray[np.float32]:
    """Standard normal vectors for `count` images from number `first`: float32 [count, size].

    Box-Muller: each word makes two normals, so that an image uses a fixed number of words.
    """
    raw = words(seed, purpose, first, count, -(-size // 2))
    scale = np.float64(2.0**-32)
    radius = ((raw >> np.uint64(32)).astype(np.float64) + 1.0) * scale  # in (0, 1]
    angle = (raw & np.uint64(0xFFFFFFFF)).astype(np.float64) * (scale * 2.0 * np.pi)
    length = np.sqrt(-2.0 * np.log(radius))
    pairs = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=-1)
    return pairs.reshape(count, 2 * raw.shape[1])[:, :size].astype(np.float32)


def uniforms(seed: int, purpose: str, first: int, count: int, size: int) -> NDArray[np.float32]:
    """Numbers in [0, 1) for `count` images from number `first`: float32 [count, size]."""
    raw = words(seed, purpose, first, count, size)
    # 24 bits are what float32 holds below 1
    return ((raw >> np.uint64(40)).astype(np.float32)) * np.float32(2.0**-24)


def choices(
    seed: int, purpose: str, first: int, count: int, weights: Sequence[int]
) -> NDArray[np.int64]:
    """A draw for each of `count` images, number k with share weights[k]: int64 [count]."""
    raw = words(seed, purpose, first, count, 1)[:, 0]
    unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
    edges = np.cumsum(np.asarray(weights, dtype=np.float64))
    return np.searchsorted(edges / edges[-1], unit, side="right").astype(np.int64)


@lru_cache(maxsize=4)
def permutation(seed: int, purpose: str, epoch: int, size: int) -> NDArray[np.int64]:
    """A permutation of range(size), its own for each epoch: int64 [size]. Do not write to it."""
    bits = np.random.Philox(key=_key(seed, f"{purpose}/{epoch}"))
    return np.random.Generator(bits).permutation(size)


def draw_order(seed: int, purpose: str, first: int, count: int, size: int) -> NDArray[np.int64]:
    """Which of `size` images are shown as numbers `first` to `first + count - 1`: int64 [count].

    Without replacement within an epoch, with no seam between epochs.
    """
    numbers = np.arange(first, first + count)
    epochs, places = numbers // size, numbers % size
    chosen = np.empty(count, dtype=np.int64)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        here = epochs == epoch
        chosen[here] = permutation(seed, purpose, epoch, size)[places[here]]
    return chosen
