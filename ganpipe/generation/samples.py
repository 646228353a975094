"""Which samples are made in which round, and of which class: nothing but the request decides.

A round makes up to as many samples as it has numbers; sample number i has the latent of number i.
Without a filter sample i becomes image i. A dropped sample is replaced in the next round by one
with a new number and the same class, so that counts of classes stay exact; images lie in the order
in which their samples were kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as counting
from math import gcd
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganpipe.generation.request import Request
from ganpipe.images import to_uint8
from ganpipe.networks.generator import drawn_labels, latent_vectors

PURPOSE = "generate"  # of the latents, as in serving
BATCH = 64  # what the network sees at once, always: another batch may give other bytes
FILTERED_BATCHES = 16  # in a round with a filter: looking for neighbours costs less in company
GOLDEN = (5**0.5 - 1) / 2


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

    def next_round(self, request: Request) -> Round:
        size = round_size(request)
        fresh = min(size - len(self.again), request.params.n - self.begun)
        tries = [made + 1 for _, made in self.again] + [1] * fresh
        labels = fresh_labels(request, self.begun, fresh)
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


def fresh_labels(request: Request, first: int, count: int) -> NDArray[np.int64] | None:
    """Classes of images number `first` onwards: int64 [count], None for a generator without."""
    if request.counts is not None:
        return scattered(request.counts, first, count)
    return drawn_labels(request.generator, request.params.seed, PURPOSE, first, count)


def scattered(counts: Sequence[int], first: int, count: int) -> NDArray[np.int64]:
    """Classes of numbers `first` onwards of sum(counts), exactly counts[k] of class k, well mixed.

    A walk over all places with a stride near the golden ratio and without a common divisor, so
    that each is met once and no table of them is needed: int64 [count].
    """
    total = sum(counts)
    stride = next(k for k in counting(max(1, int(total * GOLDEN))) if gcd(k, total) == 1)
    places = np.arange(first, first + count, dtype=np.int64) * stride % total
    return np.searchsorted(np.cumsum(counts), places, side="right").astype(np.int64)


def images_of(request: Request, made: Round) -> NDArray[np.uint8]:
    """The samples of a round: uint8 [n, H, W, C]."""
    config, params = request.generator.config, request.params
    parts = []
    for start in range(0, len(made.tries), BATCH):
        latents = latent_vectors(
            config, params.seed, PURPOSE, made.first + start, BATCH, params.truncation
        )
        labels = None
        if made.labels is not None:
            here = made.labels[start : start + BATCH]
            labels = torch.from_numpy(np.pad(here, (0, BATCH - len(here))))
        with torch.inference_mode():
            images = request.generator.network(torch.from_numpy(latents), labels)
        parts.append(to_uint8(images.float().permute(0, 2, 3, 1).numpy()))
    return np.concatenate(parts)[: len(made.tries)]
