"""GPUs of their own for the runs of a machine: who holds the lock of one uses it, and nobody else.

A slot says how many are free, the locks which; and they hold where there is no limit, and where a
slot was lost. Locks of a killed process are free. Not run yet on a machine with GPUs.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ganpipe.errors import GanpipeError

VARIABLE = "CUDA_VISIBLE_DEVICES"
SECONDS_BETWEEN_ATTEMPTS = 2.0


def visible() -> list[str]:
    """The GPUs that this process may use, named as CUDA_VISIBLE_DEVICES does."""
    import torch

    return names(torch.cuda.device_count(), os.environ.get(VARIABLE))


def names(count: int, given: str | None) -> list[str]:
    """Names of so many GPUs, where the variable says `given`: indices or UUIDs."""
    named = [str(each) for each in range(count)] if given is None else given.split(",")
    return [each.strip() for each in named[:count]]


@contextmanager
def own(
    state: Path, names: Sequence[str], count: int, waits: Callable[[str], None] = lambda told: None
) -> Iterator[dict[str, str]]:
    """Hold so many of the GPUs, those named first if they are free; wait where too few are.

    Yields the variable that shows a process these and no others. Locks lie in the folder `state`.
    Raises GanpipeError where there never are so many.
    """
    if count > len(names):
        raise GanpipeError(
            f"train.devices={count}, but this run may use {len(names)} GPUs: set train.devices to "
            f"that or less, or {VARIABLE} of the worker to more"
        )
    state.mkdir(parents=True, exist_ok=True)
    told = False
    while True:
        with ExitStack() as held:
            taken: list[str] = []
            for name in names:
                # several machines may share the folder
                path = state / f"gpu-{socket.gethostname()}-{name}.lock"
                if len(taken) < count and _lock(path, held):
                    taken.append(name)
            if len(taken) == count:
                yield {VARIABLE: ",".join(taken)}
                return
        # none is kept: two that each hold half of what they need would wait for each other for good
        if not told:
            waits(f"waits for {count} of this machine's GPUs")
            told = True
        time.sleep(SECONDS_BETWEEN_ATTEMPTS * (1 + os.getpid() % 10 / 10))


def _lock(path: Path, held: ExitStack) -> bool:
    """Whether nobody else holds it; then it is held until `held` ends."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    held.enter_context(file)
    return True
