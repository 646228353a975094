"""Images through a feature network, a small batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganpipe.errors import GanpipeError

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def named(name: str, precision: str) -> str:
    """The extractor's name in metrics: another precision is another name."""
    if precision not in DTYPES:
        raise GanpipeError(f"precision={precision} is none of {', '.join(DTYPES)}")
    return name if precision == "float32" else f"{name}{precision}"


def check_images(images: NDArray[np.uint8], name: str) -> None:
    """Raises GanpipeError for anything but uint8 [n, H, W, C] with C = 1 or 3."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise GanpipeError(
            f"{name} takes images as uint8 [n, height, width, 1 or 3], not as {images.dtype} "
            f"{list(images.shape)}: quantise them first (ganpipe.images.to_uint8)"
        )


@torch.inference_mode()
def in_batches(
    network: Callable[[Tensor], Tensor],
    images: NDArray[np.uint8],
    batch: int,
    features: int,
    name: str,
) -> NDArray[np.float32]:
    """Features float32 [n, features] of images uint8 [n, H, W, C], C = 1 or 3.

    `network` takes uint8 [b, H, W, C] with b <= batch. Raises GanpipeError for arrays of another
    kind (values in 0 ... 1 or -1 ... 1 would be taken for black), and for features that are not
    finite.
    """
    check_images(images, name)
    found = np.empty((len(images), features), np.float32)
    for first in range(0, len(images), batch):
        # a copy, since torch cannot hold the read-only pages of a memory-mapped shard
        pixels = torch.from_numpy(np.array(images[first : first + batch]))
        found[first : first + batch] = network(pixels).float().numpy()
    if not np.isfinite(found).all():
        bad = int((~np.isfinite(found)).any(axis=1).sum())
        raise GanpipeError(
            f"{name} gave NaN or infinite features for {bad} of {len(images)} images: uint8 "
            f"images cannot cause that, its weights are damaged or belong to another network"
        )
    return found
