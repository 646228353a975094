"""Resizing as matrices: each rule is linear and separable, so `rows @ image @ columns.T`.

What makes FIDs differ between tools is mostly this step: at 28 to 64 pixels the rules here are
some 11 grey levels apart on average (Parmar, Zhang and Zhu, "On aliased resizing and surprising
subtleties in GAN evaluation", CVPR 2022, for large images).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

Rule = Callable[[int, int], Tensor]


@lru_cache(maxsize=8)
def tensorflow1_bilinear(inputs: int, outputs: int) -> Tensor:
    """Matrix float32 [outputs, inputs] of TensorFlow 1's resize_bilinear, align_corners=False.

    Output k lies at k * inputs / outputs (float32), without the half-pixel shift of every later
    rule, and is not smoothed when it makes images smaller. FID was defined with it.
    """
    places = torch.arange(outputs, dtype=torch.float32) * torch.tensor(inputs / outputs)
    lower = places.long()
    upper = (lower + 1).clamp_max(inputs - 1)
    share = places - lower
    matrix = torch.zeros(outputs, inputs)
    matrix.scatter_add_(1, lower[:, None], 1.0 - share[:, None])
    matrix.scatter_add_(1, upper[:, None], share[:, None])
    return matrix


def pillow_bilinear(inputs: int, outputs: int) -> Tensor:
    """Matrix float32 [outputs, inputs] of Pillow's bilinear rule: antialias, half-pixel centres."""
    return _pillow(inputs, outputs, Image.Resampling.BILINEAR)


def pillow_bicubic(inputs: int, outputs: int) -> Tensor:
    """Matrix float32 [outputs, inputs] of Pillow's bicubic rule: antialias, half-pixel centres."""
    return _pillow(inputs, outputs, Image.Resampling.BICUBIC)


@lru_cache(maxsize=8)
def _pillow(inputs: int, outputs: int, rule: Image.Resampling) -> Tensor:
    # Pillow itself says what becomes of each single pixel
    points = Image.fromarray(np.eye(inputs, dtype=np.float32))
    return torch.from_numpy(np.array(points.resize((outputs, inputs), rule)).T.copy())


def resized(values: Tensor, rule: Rule, size: int) -> Tensor:
    """Images float32 [n, H, W, C] to [n, C, size, size], in their own units, without rounding."""
    height, width = values.shape[1:3]
    across = values.permute(0, 3, 1, 2) @ rule(width, size).T
    return rule(height, size) @ across
