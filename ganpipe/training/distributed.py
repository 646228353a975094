"""The processes that train together: each takes its share of every batch.

They are copies: the same weights, moments and averages, bit for bit, all the time. What they do
not share, gradients and what is noted of a step, is averaged before anybody uses it. That is one
flat all-reduce for each step of a network, after its backward pass, and not
DistributedDataParallel, whose hooks know one backward pass and not the double one of a penalty
(stylegan3 and R3GAN do the same).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ganpipe.errors import GanpipeError
from ganpipe.params import TrainParams

# one process may measure a snapshot or write a large state while the others wait for it
TIMEOUT = timedelta(minutes=30)
# how long a process that is not the cause of a failure gives the cause to be told first
PATIENCE = 10.0  # seconds
RENDEZVOUS = "GANPIPE_RENDEZVOUS"  # where launch.py's processes meet; torchrun has its own


class LostError(GanpipeError):
    """Another of the processes is gone: whatever ended it is the reason to tell."""


@dataclass(frozen=True)
class World:
    """This process among those that train together; all hold the same weights all the time.

    Every method but `first` must be called by all processes, in the same order. With one process
    they do nothing. Raises LostError when another process is gone.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what all have come to."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.any(wish=False)

    def any(self, wish: bool) -> bool:
        """Whether any of the processes has this wish: the same answer in all.

        It travels in main memory, so that no GPU is waited for.
        """
        if self.size == 1:
            return wish
        wishes = torch.tensor(float(wish))
        self._together(lambda: dist.all_reduce(wishes, dist.ReduceOp.MAX))
        return bool(wishes)

    def average_(self, tensors: list[Tensor]) -> None:
        """Replace each floating-point tensor by its mean over the processes, in place."""
        if self.size > 1:
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            self._together(lambda: dist.all_reduce(flat))
            _scatter(flat.div_(self.size), tensors)

    def copy_first_(self, tensors: list[Tensor]) -> None:
        """Replace each floating-point tensor by the first process's, in place."""
        if self.size > 1:
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            self._together(lambda: dist.broadcast(flat, src=0))
            _scatter(flat, tensors)

    def gather(self, shares: Tensor) -> Tensor:
        """All shares float [k, n] of k rows along the batch: [k, size * n], not differentiable."""
        if self.size == 1:
            return shares
        # differs from process to process in memory layout otherwise
        own = shares.contiguous()
        found = [torch.empty_like(own) for _ in range(self.size)]
        self._together(lambda: dist.all_gather(found, own))
        return torch.cat(found, dim=1)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, differentiable as often as one likes.

        Each process's gradient is that of the sum of all processes' losses.
        """
        return values if self.size == 1 else _Sum.apply(values, self)

    def _together(self, collective: Callable[[], object]) -> None:
        try:
            collective()
        except RuntimeError as error:
            raise LostError(
                f"process {self.rank} of {self.size} lost another one, or waited for it for "
                f"{TIMEOUT.seconds // 60} minutes: {error}"
            ) from error


class _Sum(torch.autograd.Function):
    """y_r = sum of x_s for every process r, hence dL/dx_s = sum of dL_r/dy_r: itself again."""

    @staticmethod
    def forward(
        context: torch.autograd.function.FunctionCtx, values: Tensor, world: World
    ) -> Tensor:
        context.world = world  # type: ignore[attr-defined]
        total = values.clone(memory_format=torch.contiguous_format)
        world._together(lambda: dist.all_reduce(total))
        return total

    @staticmethod
    def backward(
        context: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, None]:
        return context.world.sum(gradient), None  # type: ignore[attr-defined]


def _scatter(flat: Tensor, tensors: list[Tensor]) -> None:
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    pairs = zip(parts, tensors, strict=True)
    with torch.no_grad():
        torch._foreach_copy_(tensors, [part.view(tensor.shape) for part, tensor in pairs])


def processes(params: TrainParams) -> int:
    """How many processes train together."""
    return params.devices * params.nodes


def check_shares(params: TrainParams) -> None:
    """Raise GanpipeError when the batch cannot be shared out evenly."""
    size = processes(params)
    if params.batch % size == 0:
        return
    name = f"devices={size}" if params.nodes == 1 else f"devices x nodes={size}"
    less = params.batch // size * size
    better = f"{less} or {less + size}" if less else str(size)
    raise GanpipeError(f"train.batch={params.batch} is not a multiple of {name}: use {better}")


def _meeting() -> Store:
    """Where the processes tell each other their addresses.

    torchrun keeps one store through its restarts (torch 2.14), and in it the addresses of the
    processes that are gone, so each start of the group has names of its own. Tried on one machine.
    """
    place = os.environ.get(RENDEZVOUS, "env://")
    store, _, _ = next(rendezvous(place, _rank(), _size(), timeout=TIMEOUT))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return PrefixStore(f"attempt-{attempt}", store)


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def connected(params: TrainParams) -> Iterator[World]:
    """Join the processes that torchrun or launch.py started; one process is alone.

    Raises GanpipeError when the started processes are not those of train.devices and train.nodes.
    NCCL, for device=cuda, has not been run.
    """
    check_shares(params)
    rank, size, wanted = _rank(), _size(), processes(params)
    if size != wanted:
        raise GanpipeError(
            f"train.devices={params.devices} on train.nodes={params.nodes} are {wanted} "
            f"processes, but {size} were started: start torchrun with --nnodes {params.nodes} "
            f"--nproc-per-node {params.devices}, or change the parameters"
        )
    if size == 1:
        yield World()
        return
    cuda = params.device == "cuda"
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # what "cuda" means from here on
    dist.init_process_group(
        # gradients go from GPU to GPU, wishes from CPU to CPU
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=_meeting(),
        rank=rank,
        world_size=size,
        timeout=TIMEOUT,
    )
    try:
        yield World(rank, size)
    except GanpipeError as error:
        # the first has usually the same to say, or another process the cause: whoever started
        # the processes ends this one as soon as one of them has ended
        if rank > 0 or isinstance(error, LostError):
            time.sleep(PATIENCE)
        raise
    finally:
        dist.destroy_process_group()
