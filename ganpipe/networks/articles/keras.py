"""What Keras takes where a text says nothing, as torch's layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SLOPE = 0.3  # of LeakyReLU
_WITH_WEIGHTS = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def glorot(network: nn.Module) -> None:
    """Uniform weights of variance 2 / (fan in + fan out), and no biases.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (AISTATS 2010), equation 16.
    """
    for layer in network.modules():
        if isinstance(layer, _WITH_WEIGHTS):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def batch_norm(features: int) -> nn.BatchNorm1d:
    """Keras's momentum 0.99 is the weight of the old statistics, torch's that of the new ones."""
    return nn.BatchNorm1d(features, eps=1e-3, momentum=0.01)


class DoubleUp(nn.ConvTranspose2d):
    """Transposed 5x5 convolution of stride 2 with padding `same`: [n, C, H, W] to 2H x 2W.

    The gradient of TensorFlow's `same` convolution, which pads one pixel before and two after
    the image. torch's padding=2 with output_padding=1 is the opposite: shifted by a pixel.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 5, stride=2, padding=1)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(features, output_size)[..., :-1, :-1]


def probability(logits: Tensor) -> Tensor:
    """Sigmoid in at least float32: near 1 bfloat16 has no gradient left."""
    return torch.sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))


class Stack(nn.Module):
    """Layers one after the other, with Keras's first weights and without classes."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        glorot(self)

    def forward(self, values: Tensor, labels: Tensor | None = None) -> Tensor:
        del labels
        output: Tensor = self.layers(values)
        return output


class Critic(Stack):
    """A stack whose last layer has one output: float [n] for n images."""

    def forward(self, values: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().forward(values, labels).squeeze(1)
