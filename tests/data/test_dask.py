"""Dask: a real scheduler and real workers make the same bytes, and their deaths are survived."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from distributed import Client

from ganpipe.data import engine
from ganpipe.data.engine import WorkerDied, open_engine
from ganpipe.data.ingest import ingest
from ganpipe.data.preprocess import preprocess
from ganpipe.errors import GanpipeError
from ganpipe.params import ComputeParams
from tests.data.conftest import ONE, Pile, chosen, pile_of, png, tree

HERE = Path(__file__).parent
LOOPBACK = ["--host", "127.0.0.1", "--no-dashboard"]


class Cluster:
    """A scheduler and its workers, each with a group of processes of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.workers = 0
        self.scheduler = self._start("scheduler", *LOOPBACK, "--port", "0")
        pattern, deadline = re.compile(r"tcp://127\.0\.0\.1:\d+"), time.monotonic() + 60
        while not (found := pattern.search((folder / "0.log").read_text())):
            assert self.scheduler.poll() is None, (folder / "0.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        self.address = found.group()

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", kind, *arguments]
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (self.folder / f"{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": path},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def add_workers(self, count: int, *arguments: str) -> None:
        """Start worker processes."""
        self.workers += count
        options = [*LOOPBACK, "--nworkers", str(count), "--local-directory", str(self.folder)]
        self._start("worker", self.address, *options, *arguments)

    def end(self) -> None:
        for process in self.started:
            os.killpg(process.pid, signal.SIGKILL)
        for process in self.started:
            process.wait()

    @property
    def compute(self) -> ComputeParams:
        """Parameters that lead here, when all workers are there: killed ones start again."""
        with Client(self.address, set_as_default=False) as client:
            if self.workers:
                client.wait_for_workers(self.workers, timeout=60)
        return ComputeParams(engine="dask", address=self.address)


@contextmanager
def cluster_in(folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.end()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two worker processes."""
    with cluster_in(tmp_path_factory.mktemp("dask")) as cluster:
        cluster.add_workers(2, "--nthreads", "1")
        yield cluster


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("worker_jobs")


def test_ingest_and_preprocess_make_the_same_bytes_as_at_home(
    cluster: Cluster, tmp_path: Path, in_chunks: object
) -> None:
    in_chunks(5)
    files = {**pile_of(40), "a/cut.png": png(3)[:150], "b/again.png": png(0), "x": b"no image"}
    params = chosen(near_duplicates="set-aside", resolution=8)
    for name, compute in (("home", ONE), ("dask", cluster.compute)):
        ingest(Pile(files), tmp_path / name / "raw", params, compute)
        outputs = {split: tmp_path / name / split for split in ("train", "test")}
        preprocess(tmp_path / name / "raw", outputs, params, compute)
    assert tree(tmp_path / "home") == tree(tmp_path / "dask")
    assert len(tree(tmp_path / "home")) > 6


def test_work_of_killed_workers_is_done_by_others(cluster: Cluster, jobs: object) -> None:
    with Client(cluster.address, set_as_default=False) as client:
        victim = next(iter(client.run(os.getpid).values()))
    with open_engine(cluster.compute) as workers:
        found = {}
        for tag, items, answers in workers.map(jobs.double_slowly, ((n, [n]) for n in range(40))):
            found |= {tag: (items, answers)}
            if tag == 4:
                os.kill(victim, signal.SIGKILL)
    assert found == {n: ([n], [2 * n]) for n in range(40)}


def test_what_the_function_raises_is_raised_here(cluster: Cluster, jobs: object) -> None:
    with (
        open_engine(cluster.compute) as workers,
        pytest.raises(ValueError, match="13 is not liked"),
    ):
        list(workers.map(jobs.refuse_13, ((n, [n]) for n in range(20))))


def test_only_the_item_that_ends_its_workers_is_given_up(cluster: Cluster, jobs: object) -> None:
    with open_engine(cluster.compute) as workers:
        found = list(workers.map(jobs.exit_at_13, ((n, [n, n + 1]) for n in range(8, 16, 2))))
    answers = [answer for _, _, part in found for answer in part]
    assert answers == [WorkerDied() if n == 13 else 2 * n for n in range(8, 16)]


def test_a_scheduler_that_goes_away_is_named(cluster: Cluster, jobs: object) -> None:
    """The last one with this cluster."""
    began = None
    with (
        pytest.raises(GanpipeError, match=f"{cluster.address}: the Dask scheduler went away"),
        open_engine(cluster.compute) as workers,
    ):
        for tag, _, _ in workers.map(jobs.double_slowly, ((n, [n]) for n in range(400))):
            if tag == 4:
                cluster.scheduler.kill()
                began = time.monotonic()
    assert began is not None
    assert time.monotonic() - began < 40


def test_a_scheduler_without_workers_or_with_threaded_ones_is_refused(tmp_path: Path) -> None:
    with cluster_in(tmp_path) as lonely:
        with (
            pytest.raises(GanpipeError, match=rf"{lonely.address}: .* has no workers: start some"),
            open_engine(lonely.compute),
        ):
            pass
        lonely.add_workers(1, "--nthreads", "2", "--no-nanny")
        with (
            pytest.raises(GanpipeError, match=r"runs 2 threads.*start the workers with --nthr"),
            open_engine(lonely.compute),
        ):
            pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "nonsense", "http://127.0.0.1:1"])
def test_an_address_where_nothing_answers_is_named(
    free_port: int, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(engine, "SECONDS_TO_CONNECT", 1.0)
    address = address.format(port=free_port)
    compute = ComputeParams(engine="dask", address=address)
    began = time.monotonic()
    with (
        pytest.raises(GanpipeError, match=f"compute.address={address}: no Dask scheduler answers"),
        open_engine(compute),
    ):
        pass
    assert time.monotonic() - began < 10
