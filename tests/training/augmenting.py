"""Images and draws for the tests of augmentation."""

import torch
from torch import Tensor

from ganpipe.training import augment
from ganpipe.training.augment.draws import Draws

SHAPES = [(1, 28, 28), (3, 16, 16), (3, 4, 4), (1, 4, 9), (3, 20, 12)]
ALWAYS = torch.tensor(1.0)


def images(
    count: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0
) -> Tensor:
    """Noise in [-1, 1): [count, *shape]."""
    random = torch.Generator().manual_seed(seed)
    return torch.rand(count, *shape, generator=random, dtype=dtype) * 2 - 1


def draws(count: int, seed: int = 1, columns: int = augment.EACH) -> Tensor:
    """Uniform in [0, 1): float32 [count, columns]."""
    return torch.rand(count, columns, generator=torch.Generator().manual_seed(seed))


def take(*columns: float, dtype: torch.dtype = torch.float64) -> Draws:
    """Draws of one image with these numbers; a chance of 0 applies the operation."""
    return Draws(torch.tensor([columns], dtype=dtype), ALWAYS, dtype)


def many(strength: float = 1.0, count: int = 20_000) -> Draws:
    """Draws of many images."""
    return Draws(draws(count), torch.tensor(strength), torch.float64)
