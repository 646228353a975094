"""Where images are worked on: processes of this machine, or a Dask cluster. Same bytes from both.

A worker that dies is replaced and its work done again; an item that ends its worker even when it
is alone with it comes back as WorkerDied, so that one file cannot stop a million others.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from ganpipe.data.pool import Pool, WorkerEndedError
from ganpipe.errors import GanpipeError
from ganpipe.params import ComputeParams

Tag = TypeVar("Tag")
T = TypeVar("T")
R = TypeVar("R")
SECONDS_TO_CONNECT = 10.0
SECONDS_BETWEEN_LOOKS = 1.0
BYTES_UNDER_WAY = 2**28  # of items that are bytes


@dataclass(frozen=True)
class WorkerDied:
    """In place of an item's result: the item ended every process that worked on it."""


class Engine:
    """Runs a function over lists of items on workers. Open it with `open_engine`."""

    def __init__(
        self,
        executor: Executor,
        workers: int,
        death: type[BaseException],
        tries: int,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        """`death` is what a future raises for work that ended its worker; `tries` is how often an
        item is tried alone before it is given up; `look` raises when no future will ever end."""
        self.workers = workers
        self._executor, self._death, self._tries = executor, death, tries
        self._look = look

    def map(
        self, function: Callable[[list[T]], list[R]], chunks: Iterable[tuple[Tag, list[T]]]
    ) -> Iterator[tuple[Tag, list[T], list[R | WorkerDied]]]:
        """Chunks (each with a tag, its items and their results) in their order.

        A few chunks for each worker are under way at any time, and no more than BYTES_UNDER_WAY
        unless it is one chunk. `function` is pure, importable, and returns one result for each
        item; the tags stay here.
        """
        waiting: deque[tuple[Tag, list[T], Future[list[R]]]] = deque()
        under_way = 0
        for tag, items in chunks:
            under_way += _bytes(items)
            waiting.append((tag, items, self._submit(function, items)))
            while len(waiting) > 2 * self.workers + 1 or under_way > BYTES_UNDER_WAY:
                under_way -= _bytes(waiting[0][1])
                yield self._finish(function, *waiting.popleft())
        while waiting:
            yield self._finish(function, *waiting.popleft())

    def _finish(
        self,
        function: Callable[[list[T]], list[R]],
        tag: Tag,
        items: list[T],
        future: Future[list[R]],
    ) -> tuple[Tag, list[T], list[R | WorkerDied]]:
        try:
            return tag, items, [*self._result(future)]
        except self._death:
            results: list[R | WorkerDied] = []
            for item in items:
                result = self._alone(function, item)
                results.append(result)
            return tag, items, results

    def _alone(self, function: Callable[[list[T]], list[R]], item: T) -> R | WorkerDied:
        for _ in range(self._tries):
            with suppress(self._death):
                return self._result(self._submit(function, [item]))[0]
        return WorkerDied()

    def _submit(self, function: Callable[[list[T]], list[R]], items: list[T]) -> Future[list[R]]:
        self._look()
        return self._executor.submit(function, items)

    def _result(self, future: Future[list[R]]) -> list[R]:
        while not wait([future], SECONDS_BETWEEN_LOOKS).done:
            self._look()
        return future.result()


def _bytes(items: Sequence[object]) -> int:
    return sum(len(item) for item in items if isinstance(item, bytes))


@contextmanager
def open_engine(compute: ComputeParams) -> Iterator[Engine]:
    """The workers that the parameters ask for.

    Raises GanpipeError when a Dask scheduler does not answer, goes away, has no workers, or has
    workers with several threads (decoders are not safe to share).
    """
    if compute.engine == "dask":
        with _dask(compute.address) as engine:
            yield engine
        return
    processes = compute.processes or len(os.sched_getaffinity(0))
    # not ganpipe's own modules: what is preloaded is found from the current folder, which may be
    # another checkout than the one that runs
    pool = Pool(processes, ["numpy", "PIL.Image", "PIL.ImageCms"])
    try:
        yield Engine(pool, processes, WorkerEndedError, tries=2)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _dask(address: str) -> Iterator[Engine]:
    from distributed import Client
    from distributed.scheduler import KilledWorker

    try:
        client: Any = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise GanpipeError(
            f"compute.address={address}: no Dask scheduler answers there ({error}): start one "
            f"with `dask scheduler`, correct the address, or set compute.engine=local"
        ) from None

    def look() -> None:
        # a task that was submitted while the connection broke is never cancelled
        if client.status not in ("running", "connecting"):
            raise CancelledError

    try:
        # a scheduler tries several times before it calls a task deadly
        workers = _dask_workers(client, address)
        yield Engine(client.get_executor(pure=False), workers, KilledWorker, tries=1, look=look)
    except CancelledError:
        raise GanpipeError(
            f"compute.address={address}: the Dask scheduler went away in mid-work: start it and "
            f"the stage again, or set compute.engine=local"
        ) from None
    finally:
        client.close()


def _dask_workers(client: Any, address: str) -> int:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        raise GanpipeError(
            f"compute.address={address}: the Dask scheduler has no workers: start some with "
            f"`dask worker {address} --nworkers 2 --nthreads 1`"
        )
    threads = max(worker["nthreads"] for worker in workers.values())
    if threads > 1:
        raise GanpipeError(
            f"compute.address={address}: a Dask worker runs {threads} threads, but image decoders "
            f"are not safe to share: start the workers with --nthreads 1 (and more --nworkers)"
        )
    return len(workers)
