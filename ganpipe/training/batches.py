"""Batches of real images and latents: pure functions of how many images were shown before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpipe import randomness
from ganpipe.data.dataset import Dataset
from ganpipe.training.distributed import World


class Batch(NamedTuple):
    """What one step of one process is shown: n images, its share of the batch."""

    real: Tensor
    """Images float [n, C, H, W] in [-1, 1]."""
    latents: Tensor
    """float [n, latent]."""
    labels: Tensor | None
    """Classes of the images int64 [n], where the networks are conditional."""
    draws: Tensor | None = None
    """Uniform in [0, 1), float32 [n, DRAWS], where a step has more that is random."""


class Batches:
    """What each step is shown. Where a GPU waits for it, the next batch is read meanwhile."""

    def __init__(
        self,
        dataset: Dataset,
        seed: int,
        batch: int,
        latent: int,
        device: str = "cpu",
        *,
        labels: NDArray[np.int64] | None = None,
        draws: int = 0,
        world: World | None = None,
        ahead: bool | None = None,
    ) -> None:
        """`batch`: images of all processes together; each gets its share, in the order of ranks.

        `labels`: classes of all images int64 [count], for conditional networks.

        `draws`: how many more numbers each image of a step needs (augmentation, WGAN-GP).

        `world`: the processes that train together; their number divides the batch.

        `ahead`: read the next batch in a thread; None does so where the device is a GPU.
        """
        self.dataset, self.seed, self.batch, self.latent = dataset, seed, batch, latent
        self.device, self.labels, self.draws = device, labels, draws
        ahead = device == "cuda" if ahead is None else ahead
        world = world or World()
        self.share = batch // world.size
        self.offset = world.rank * self.share
        self._reader = ThreadPoolExecutor(1, "batches", self._same_gpu()) if ahead else None
        self._next: tuple[int, Future[dict[str, Tensor]]] | None = None

    def at(self, shown: int) -> Batch:
        """This process's share of the batch that follows after `shown` images."""
        # a copy from pinned memory runs beside the computation
        there = {
            name: tensor.to(self.device, non_blocking=True)
            for name, tensor in self._take(shown).items()
        }
        real = there["pixels"].permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        return Batch(real, there["latents"], there.get("labels"), there.get("draws"))

    def _same_gpu(self) -> Callable[[], None] | None:
        """Without it the thread would pin memory for the machine's first GPU (not run here)."""
        if self.device != "cuda":
            return None
        return partial(torch.cuda.set_device, torch.cuda.current_device())

    def close(self) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def _take(self, shown: int) -> dict[str, Tensor]:
        if self._reader is None:
            return self._read(shown)
        if self._next is None or self._next[0] != shown:
            self._next = (shown, self._reader.submit(self._read, shown))
        now = self._next[1].result()
        after = shown + self.batch
        self._next = (after, self._reader.submit(self._read, after))
        return now

    def _read(self, shown: int) -> dict[str, Tensor]:
        seed, count, first = self.seed, self.share, shown + self.offset
        numbers = randomness.draw_order(seed, "reals", first, count, len(self.dataset))
        arrays: dict[str, NDArray[Any]] = {
            "pixels": self.dataset.batch(numbers),
            "latents": randomness.normals(seed, "latents", first, count, self.latent),
        }
        if self.labels is not None:
            arrays["labels"] = self.labels[numbers]
        if self.draws:
            arrays["draws"] = randomness.uniforms(seed, "draws", first, count, self.draws)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.device != "cuda":
            return tensors
        return {name: tensor.pin_memory() for name, tensor in tensors.items()}
