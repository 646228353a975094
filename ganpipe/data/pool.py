"""Worker processes that may die: one that does takes along only what it had in hand.

concurrent.futures' own pool has one pipe for the results of all. A worker that is killed while it
writes leaves half a result and a held lock in it, and everybody waits for ever (seen within
seconds of random kills). Here each worker has a pipe of its own, whose end tells of its death.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

_READY = b"ready"
_STARTS = 5  # a worker that is killed while it starts is started again


class WorkerEndedError(Exception):
    """The process that worked on a job ended before the job did."""


class _Job(NamedTuple):
    future: Future[Any]
    message: bytes


class Pool(Executor):
    """Processes that are started when work comes and replaced when they die."""

    def __init__(self, processes: int, preload: Sequence[str] = ()) -> None:
        """`preload`: modules that are imported once, for all workers."""
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closed = False
        _start_forkserver(list(preload))
        self._threads = [
            threading.Thread(target=_drive, args=(self._jobs,), name="worker", daemon=True)
            for _ in range(processes)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call an importable function in a worker.

        The future raises what the function raises, and WorkerEndedError.
        """
        if self._closed:
            raise RuntimeError("the pool is shut down")
        future: Future[Any] = Future()
        self._jobs.put(_Job(future, bytes(ForkingPickler.dumps((function, args, kwargs)))))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the workers end what they have in hand, or with `cancel_futures` only that."""
        self._closed = True
        while cancel_futures:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is not None:
                job.future.cancel()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads if wait else ():
            thread.join()


class _Worker:
    """The near side of one process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self.link, far = context.Pipe()
        self.process: ForkServerProcess = context.Process(target=_work, args=(far,), daemon=True)
        self.process.start()
        far.close()  # so that the worker's end is the only one, and closes with it
        self.expect()  # that it is ready

    def expect(self) -> bytes:
        try:
            return self.link.recv_bytes()
        except (EOFError, OSError):
            self.close()
            raise WorkerEndedError(f"a worker ended with code {self.process.exitcode}") from None

    def call(self, message: bytes) -> Any:
        with suppress(OSError):  # it is gone, as the next line finds
            self.link.send_bytes(message)
        result, error = ForkingPickler.loads(self.expect())
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        self.link.close()
        self.process.join()


def _drive(jobs: SimpleQueue[_Job | None]) -> None:
    """In a thread: one worker after another, and the jobs that it does."""
    worker: _Worker | None = None
    while (job := jobs.get()) is not None:
        if not job.future.set_running_or_notify_cancel():
            continue
        try:
            if worker is None or not worker.process.is_alive():
                worker = _started()
            result = worker.call(job.message)
        except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
        del job
    if worker is not None:
        worker.close()


def _started() -> _Worker:
    for _ in range(_STARTS - 1):
        with suppress(WorkerEndedError):
            return _Worker()
    try:
        return _Worker()
    except WorkerEndedError as error:  # no work is to blame
        raise RuntimeError(f"{error} before it did anything, {_STARTS} times") from None


def _start_forkserver(preload: list[str]) -> None:
    """Start the process that workers are forked from, deaf to Ctrl-C: that is its parent's
    business, and its children inherit the deafness from their first moment."""
    forkserver.set_forkserver_preload(preload)
    resource_tracker.ensure_running()  # it would lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(link: Connection) -> None:
    """In a worker: jobs until nobody sends any."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    link.send_bytes(_READY)
    while True:
        try:
            message = link.recv_bytes()
        except EOFError:
            return
        try:
            function, args, kwargs = ForkingPickler.loads(message)
            answer = ForkingPickler.dumps((function(*args, **kwargs), None))
        except Exception as error:  # noqa: BLE001 - raised on the near side
            error.add_note(f"In a worker process:\n{traceback.format_exc()}")
            answer = ForkingPickler.dumps((None, error))
        link.send_bytes(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
