"""R3GAN's block: 1x1, grouped 3x3 and 1x1 convolutions around a wider middle.

Huang, Gokaslan, Kuleshov and Tompkin, "The GAN is dead; long live the GAN! A modern GAN baseline"
(NeurIPS 2024), section 4.2 (configuration E). The rest of its networks is residual.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from ganpipe.networks.residual import ACTIVATION_GAIN, BiasedLeakyReLU, convolution


class GroupedBlock(nn.Module):
    """Features float [n, C, h, w] to the same shape: 1x1, grouped 3x3, 1x1."""

    def __init__(self, channels: int, group: int, expansion: int, blocks: int) -> None:
        """`group`: channels of each group before expansion; `blocks`: how many the network has."""
        super().__init__()
        inner = channels * expansion
        groups = max(1, channels // group)
        # fix-up: the variance must not grow with depth (three layers a branch)
        gain = ACTIVATION_GAIN * blocks ** (-1.0 / (2 * 3 - 2))
        self.expand = convolution(channels, inner, 1, gain=gain)
        self.first = BiasedLeakyReLU(inner)
        self.grouped = convolution(inner, inner, 3, groups=groups, gain=gain)
        self.second = BiasedLeakyReLU(inner)
        self.project = convolution(inner, channels, 1, gain=0.0)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.first(self.expand(features))
        inner = self.second(self.grouped(inner))
        changed: Tensor = features + self.project(inner)
        return changed
