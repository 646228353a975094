"""What the machine can do: `auto` parameters become what they stand for before a stage runs."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from ganpipe.errors import GanpipeError
from ganpipe.params import EvaluateParams, Params, TrainParams

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
MOST_MMAP_THRESHOLD = 32 * 2**20  # that glibc takes
KEPT_FREE = 512 * 2**20  # bytes of freed memory that a process does not give back
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container, cgroup v2


def cores(quota: Path = CPU_QUOTA) -> int:
    """CPU cores that this process may use: those of its affinity, within a container's limit."""
    allowed = len(os.sched_getaffinity(0))
    if not quota.exists():
        return allowed
    limit, period = quota.read_text(encoding="utf-8").split()
    return allowed if limit == "max" else max(1, min(allowed, int(limit) // int(period)))


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512-BF16, AMX, or ARM's bf16)."""
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        return False
    words = set(flags.read_text(encoding="utf-8").split())
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def resolve(params: Params) -> Params:
    """Replace `auto` and 0 by the device, precision and threads that they mean on this machine.

    They change the bytes that come out, so they belong to the parameters of a run.
    Raises GanpipeError for a device that this machine does not have, and for a resolution that
    the network cannot make.
    """
    from ganpipe.networks import check_resolution

    if params.data.shape:
        check_resolution(params.model.architecture, *params.data.shape)
    sections = {"train": resolve_train(params.train), "evaluate": resolve_evaluate(params.evaluate)}
    return params.model_copy(update=sections)


def resolve_train(params: TrainParams) -> TrainParams:
    """Device, precision and threads of training on this machine.

    Raises GanpipeError for devices that it does not have or that the batch cannot be shared over.
    """
    import torch

    from ganpipe.training.distributed import check_shares

    check_shares(params)
    device = params.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise GanpipeError(
            "train.device=cuda, but torch finds no GPU here: set train.device=cpu or auto"
        )
    if device == "cuda" and params.devices > torch.cuda.device_count():
        raise GanpipeError(
            f"train.devices={params.devices}, but this machine has {torch.cuda.device_count()} "
            f"GPUs: set train.devices to that or less"
        )
    precision = params.precision
    if precision == "auto":
        bf16 = torch.cuda.is_bf16_supported() if device == "cuda" else cpu_has_bf16()
        precision = "bf16" if bf16 else "float32"
    # more threads than cores would wait for each other
    threads = params.threads or max(1, cores() // params.devices)
    found = {"device": device, "precision": precision, "threads": threads}
    return params.model_copy(update=found)


def resolve_evaluate(params: EvaluateParams) -> EvaluateParams:
    """Threads of the measures on this machine."""
    return params.model_copy(update={"threads": params.threads or cores()})


def settle(threads: int) -> None:
    """Give torch and BLAS their threads and make torch choose the same kernels every time."""
    _keep_freed_memory()
    import scipy.linalg  # noqa: F401 - brings its own BLAS, which must be loaded to be limited
    import torch
    from threadpoolctl import threadpool_limits

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threadpool_limits(threads, user_api="blas")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    # filling fresh memory would cost time on every allocation; nothing here reads it unwritten
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _keep_freed_memory() -> None:
    """Let the C library reuse freed memory instead of giving it back after every tensor.

    Every step frees what the next one takes again; memory that went back to the system meanwhile
    comes page by page, each one filled with zeros.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc; others have no such thresholds
        libc.mallopt(M_MMAP_THRESHOLD, MOST_MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_FREE)
