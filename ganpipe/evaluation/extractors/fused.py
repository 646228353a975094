"""A convolution, the BatchNorm after it and the clamp after that, in one pass over memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

# oneDNN's convolution with a clamp, which torch.compile uses too; PyTorch has no public name for
# it. Plain convolutions with one thread leave oneDNN for 1x1 kernels, at a third of its speed.
_ONEDNN = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class Fused(nn.Module):
    """`clamp(norm(convolution(x)), 0, most)` in evaluation; no clamp when `most` is None.

    The norm is folded into the weights in float64. `padding` is how many zeros stand before and
    after the rows, then the columns: those after may be more (TensorFlow's "same" at stride 2).
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        norm: nn.BatchNorm2d,
        most: float | None,
        padding: tuple[tuple[int, int], tuple[int, int]],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        folded = fuse_conv_bn_eval(convolution.double(), norm.double())
        weight, (rows, columns) = folded.weight.detach(), padding
        # a leading zero in the kernel instead of padding that differs between the sides
        weight = pad(weight, (columns[1] - columns[0], 0, rows[1] - rows[0], 0))
        self.padding = (rows[1], columns[1])
        self.stride, self.dilation = tuple(folded.stride), tuple(folded.dilation)
        self.groups, self.most = folded.groups, most
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = None if folded.bias is None else folded.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        how = (self.padding, self.stride, self.dilation, self.groups)
        if _ONEDNN:
            clamp: tuple[str, list[float]] = ("none", [])
            if self.most is not None:
                finite = self.most < float("inf")
                clamp = ("hardtanh", [0.0, self.most]) if finite else ("relu", [])
            done: Tensor = torch.ops.mkldnn._convolution_pointwise(
                x, self.weight, self.bias, *how, *clamp, ""
            )
            return done
        padding, stride, dilation, groups = how
        done = torch.conv2d(x, self.weight, self.bias, stride, padding, dilation, groups)
        return done if self.most is None else done.clamp_(0.0, self.most)
