"""Which samples are made in which round, and of which class: nothing but the request decides.

A round makes up to as many samples as it has numbers; sample number i has the latent of number i.
Without a filter sample i becomes image i. A dropped sample is replaced in the next round by one
with a new number and the same class, so that counts of classes stay exact; images lie in the order
in which their samples were kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count as counting
from math import gcd
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ganpipe.generation.request import Request
from ganpipe.images import to_uint8
from ganpipe.networks.generator import drawn_labels, latent_vectors

PURPOSE = "generate"  # of the latents, as in serving
BATCH = 64  # what the network sees at once, always: another batch may give other bytes
FILTERED_BATCHES = 16  # in a round with a filter: looking for neighbours costs less in company
AHEAD = 16 * BATCH  # latents and classes drawn at once: calls for each batch would cost more
GOLDEN = (5**0.5 - 1) / 2

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Round:
    """Samples to make together."""

    number: int
    first: int
    """Number of the first sample."""
    labels: NDArray[np.int64] | None
    """Of each sample, int64 [n]; None for a generator without classes."""
    tries: list[int]
    """How many samples were made for each image, this one included."""


@dataclass(frozen=True)
class Cursor:
    """Where a request stands between two rounds."""

    round: int = 0
    begun: int = 0
    """Images that a sample was made for."""
    again: tuple[tuple[int, int], ...] = ()
    """Of each image whose sample was dropped: class (-1: none), samples made for it."""

    def next_round(self, draws: Draws) -> Round:
        request = draws.request
        size = round_size(request)
        fresh = min(size - len(self.again), request.params.n - self.begun)
        tries = [made + 1 for _, made in self.again] + [1] * fresh
        labels = draws.labels(self.begun, fresh)
        if labels is not None:
            kept = np.array([label for label, _ in self.again], dtype=np.int64)
            labels = np.concatenate([kept, labels])
        return Round(self.round, self.round * size, labels, tries)

    def after(self, made: Round, dropped: Sequence[bool]) -> Cursor:
        """Where it stands once some samples of a round are dropped."""
        labels = [-1] * len(made.tries) if made.labels is None else made.labels.tolist()
        again = tuple(
            (label, tries)
            for label, tries, gone in zip(labels, made.tries, dropped, strict=True)
            if gone
        )
        fresh = len(made.tries) - len(self.again)
        return Cursor(self.round + 1, self.begun + fresh, again)

    def as_json(self) -> dict[str, Any]:
        return {"round": self.round, "begun": self.begun, "again": self.again}

    @staticmethod
    def of_json(known: dict[str, Any]) -> Cursor:
        again = tuple((int(label), int(tries)) for label, tries in known["again"])
        return Cursor(known["round"], known["begun"], again)


def round_size(request: Request) -> int:
    """Numbers that a round takes, whether or not it makes a sample of each."""
    return BATCH * (1 if request.params.filter == "none" else FILTERED_BATCHES)


class Draws:
    """What the seed and the number of an image decide, drawn ahead."""

    def __init__(self, request: Request) -> None:
        self.request = request
        config, params = request.generator.config, request.params
        self.latents = _ahead(
            lambda first: latent_vectors(
                config, params.seed, PURPOSE, first, AHEAD, params.truncation
            )
        )
        """Of samples number `first` onwards: float32 [count, latent]."""
        self._classes = _ahead(self._drawn_classes)

    def labels(self, first: int, count: int) -> NDArray[np.int64] | None:
        """Classes of images number `first` onwards: int64 [count]; None where there are none."""
        return self._classes(first, count) if self.request.generator.config.classes else None

    def _drawn_classes(self, first: int) -> NDArray[np.int64]:
        if self.request.counts is not None:
            return scattered(self.request.counts, first, AHEAD)
        generator, seed = self.request.generator, self.request.params.seed
        # None only without classes, where nobody asks for them
        return cast("NDArray[np.int64]", drawn_labels(generator, seed, PURPOSE, first, AHEAD))


def _ahead(draw: Callable[[int], NDArray[Scalar]]) -> Callable[[int, int], NDArray[Scalar]]:
    """Rows `first` to `first + count - 1` out of blocks of AHEAD rows, which `draw` makes."""
    block = lru_cache(maxsize=2)(draw)

    def rows(first: int, count: int) -> NDArray[Scalar]:
        offset = first % AHEAD
        starts = range(first - offset, first + max(1, count), AHEAD)
        blocks = [block(start) for start in starts]
        together = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        return together[offset : offset + count]

    return rows


def scattered(counts: Sequence[int], first: int, count: int) -> NDArray[np.int64]:
    """Classes of numbers `first` onwards of sum(counts), exactly counts[k] of class k, well mixed.

    A walk over all places with a stride near the golden ratio and without a common divisor, so
    that each is met once and no table of them is needed: int64 [count].
    """
    total = sum(counts)
    stride = next(k for k in counting(max(1, int(total * GOLDEN))) if gcd(k, total) == 1)
    places = np.arange(first, first + count, dtype=np.int64) * stride % total
    return np.searchsorted(np.cumsum(counts), places, side="right").astype(np.int64)


def images_of(draws: Draws, made: Round) -> NDArray[np.uint8]:
    """The samples of a round: uint8 [n, H, W, C]."""
    parts = []
    for start in range(0, len(made.tries), BATCH):
        latents = torch.from_numpy(draws.latents(made.first + start, BATCH))
        labels = None
        if made.labels is not None:
            here = made.labels[start : start + BATCH]
            if len(here) < BATCH:
                here = np.pad(here, (0, BATCH - len(here)))
            labels = torch.from_numpy(here)
        with torch.inference_mode():
            images = draws.request.generator.network(latents, labels)
        parts.append(to_uint8(images.float().permute(0, 2, 3, 1).numpy()))
    together = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return together[: len(made.tries)]
