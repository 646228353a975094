"""A plain residual block: two 3x3 convolutions. On a CPU faster than R3GAN's grouped one.

He, Zhang, Ren and Sun, "Identity mappings in deep residual networks" (ECCV 2016), without
normalisation; the rest of its networks is residual.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganpipe.networks.residual import ACTIVATION_GAIN, BiasedLeakyReLU, convolution


class PlainBlock(nn.Module):
    """Features float [n, C, h, w] to the same shape: leaky ReLU and 3x3, twice."""

    def __init__(self, channels: int, blocks: int) -> None:
        """`blocks`: how many the network has."""
        super().__init__()
        # fix-up: the variance must not grow with depth (two layers a branch)
        gain = ACTIVATION_GAIN * blocks ** (-1.0 / (2 * 2 - 2))
        self.first = BiasedLeakyReLU(channels)
        self.inner = convolution(channels, channels, 3, gain=gain)
        self.second = BiasedLeakyReLU(channels)
        self.outer = convolution(channels, channels, 3, gain=0.0)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.inner(self.first(features))
        changed: Tensor = features + self.outer(self.second(inner))
        return changed
