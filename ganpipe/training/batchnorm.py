"""BatchNorm over the whole batch when processes share it: on every device, differentiable twice.

torch's SyncBatchNorm has no CPU path.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganpipe.networks.precision import full
from ganpipe.training.distributed import World


class SharedBatchNorm(_BatchNorm):
    """BatchNorm of float [n, C, ...] whose statistics are those of all processes' shares.

    The shares are equally large. Ioffe and Szegedy, "Batch normalization" (ICML 2015); running
    variances are unbiased, as in torch.
    """

    world: World

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        del input

    # collectives do not belong into a compiled graph
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        wide = full(features)
        others = [axis for axis in range(wide.dim()) if axis != 1]
        count = wide.numel() // wide.shape[1] * self.world.size
        shape = [1, -1, *[1] * (wide.dim() - 2)]
        # two passes: E[x^2] - E[x]^2 would lose the digits that they share
        mean = self.world.sum(wide.sum(dim=others)) / count
        centred = wide - mean.view(shape)
        variance = self.world.sum(centred.square().sum(dim=others)) / count
        self._remember(mean.detach(), variance.detach() * (count / max(count - 1, 1)))
        normal = centred * (variance + self.eps).rsqrt().view(shape)
        scaled = normal * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(features.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        for kept, new in ((self.running_mean, mean), (self.running_var, variance)):
            if kept is not None:
                kept.lerp_(new.to(kept.dtype), self.momentum or 0.0)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def share_statistics(network: nn.Module, world: World) -> None:
    """Let every BatchNorm of a network see all processes' shares: same tensors, same names."""
    for name, child in list(network.named_children()):
        if isinstance(child, _BatchNorm):
            setattr(network, name, _shared(child, world))
        else:
            share_statistics(child, world)


def _shared(norm: _BatchNorm, world: World) -> SharedBatchNorm:
    shared = SharedBatchNorm(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    for name, parameter in norm.named_parameters(recurse=False):
        setattr(shared, name, parameter)
    for name, buffer in norm.named_buffers(recurse=False):
        setattr(shared, name, buffer)
    shared.world = world
    return shared.train(norm.training)
