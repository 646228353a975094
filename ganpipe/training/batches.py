"""Batches of real images and latents: pure functions of how many images were shown before."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from ganpipe import randomness
from ganpipe.data.dataset import Dataset


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
        ahead: bool | None = None,
    ) -> None:
        """`ahead`: read the next batch in a thread; None does so where the device is a GPU."""
        self.dataset, self.seed, self.batch, self.latent = dataset, seed, batch, latent
        self.device = device
        ahead = device == "cuda" if ahead is None else ahead
        self._reader = ThreadPoolExecutor(1, "batches") if ahead else None
        self._next: tuple[int, Future[tuple[Tensor, Tensor]]] | None = None

    def at(self, shown: int) -> tuple[Tensor, Tensor]:
        """Real images float [batch, C, H, W] in [-1, 1] and latents float [batch, latent].

        `shown` is how many images came before.
        """
        pixels, latents = self._take(shown)
        # a copy from pinned memory runs beside the computation
        pixels, latents = (t.to(self.device, non_blocking=True) for t in (pixels, latents))
        return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0, latents

    def close(self) -> None:
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def _take(self, shown: int) -> tuple[Tensor, Tensor]:
        if self._reader is None:
            return self._read(shown)
        if self._next is None or self._next[0] != shown:
            self._next = (shown, self._reader.submit(self._read, shown))
        now = self._next[1].result()
        after = shown + self.batch
        self._next = (after, self._reader.submit(self._read, after))
        return now

    def _read(self, shown: int) -> tuple[Tensor, Tensor]:
        numbers = randomness.draw_order(self.seed, "reals", shown, self.batch, len(self.dataset))
        pixels = torch.from_numpy(self.dataset.batch(numbers))
        latents = torch.from_numpy(
            randomness.normals(self.seed, "latents", shown, self.batch, self.latent)
        )
        if self.device == "cuda":
            return pixels.pin_memory(), latents.pin_memory()
        return pixels, latents
