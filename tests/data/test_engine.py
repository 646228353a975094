"""Workers: whatever happens to them, every item comes back once, in its place."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ganpipe.data import pool
from ganpipe.data.engine import WorkerDied, open_engine
from ganpipe.params import ComputeParams

HERE = Path(__file__).parent


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tests/data/worker_jobs.py under a name that workers can import."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("worker_jobs")


def numbers(count: int, each: int) -> Iterator[tuple[int, list[int]]]:
    return ((n, list(range(each * n, each * (n + 1)))) for n in range(count))


def results(found: list[tuple[int, list[int], list[object]]]) -> dict[int, object]:
    """Item -> result, after a look at the tags."""
    assert [tag for tag, _, _ in found] == list(range(len(found)))
    return {
        item: result
        for _, items, answers in found
        for item, result in zip(items, answers, strict=True)
    }


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_chunks_come_back_in_order_with_their_tags(jobs: ModuleType, processes: int) -> None:
    with open_engine(ComputeParams(processes=processes)) as engine:
        found = list(engine.map(jobs.double, numbers(20, 3)))
    assert results(found) == {n: 2 * n for n in range(60)}


def test_work_of_killed_workers_is_done_by_others(jobs: ModuleType) -> None:
    with open_engine(ComputeParams(processes=2)) as engine:
        found = []
        for answer in engine.map(jobs.double_slowly, numbers(40, 2)):
            found.append(answer)
            if len(found) in (3, 9, 21):
                for worker in multiprocessing.active_children():
                    os.kill(worker.pid, signal.SIGKILL)
    assert results(found) == {n: 2 * n for n in range(80)}


def test_workers_that_died_while_idle_are_replaced(jobs: ModuleType) -> None:
    with open_engine(ComputeParams(processes=2)) as engine:
        for _ in range(2):
            assert results(list(engine.map(jobs.double, numbers(4, 1))))[3] == 6
            for worker in multiprocessing.active_children():
                os.kill(worker.pid, signal.SIGKILL)
                worker.join()


@pytest.mark.timeout(60)
def test_a_worker_killed_in_the_middle_of_its_answer_blocks_nobody(
    jobs: ModuleType, tmp_path: Path
) -> None:
    """What makes concurrent.futures.ProcessPoolExecutor wait for ever."""
    chunks = ((n, [str(tmp_path / f"{n}-{k}") for k in "ab"]) for n in range(6))
    with open_engine(ComputeParams(processes=2)) as engine:
        found = list(engine.map(jobs.die_while_answering, chunks))
    assert [len(answer) for _, _, answers in found for answer in answers] == [200_000] * 12


@pytest.mark.parametrize("name", ["exit_at_13", "fault_at_13"])
def test_only_the_item_that_ends_its_worker_is_given_up(jobs: ModuleType, name: str) -> None:
    with open_engine(ComputeParams(processes=2)) as engine:
        found = results(list(engine.map(getattr(jobs, name), numbers(6, 4))))
    assert found == {n: WorkerDied() if n == 13 else 2 * n for n in range(24)}


def test_what_the_function_raises_is_raised_here_and_says_where(jobs: ModuleType) -> None:
    with (
        open_engine(ComputeParams(processes=2)) as engine,
        pytest.raises(ValueError, match="13 is not liked") as raised,
    ):
        list(engine.map(jobs.refuse_13, numbers(6, 4)))
    assert "in refuse_13" in "".join(raised.value.__notes__)


def test_only_a_few_chunks_are_taken_ahead(jobs: ModuleType) -> None:
    taken = []

    def chunks() -> Iterator[tuple[int, list[int]]]:
        for chunk in numbers(30, 1):
            taken.append(chunk)
            yield chunk

    with open_engine(ComputeParams(processes=2)) as engine:
        for done, _ in enumerate(engine.map(jobs.double, chunks())):
            assert len(taken) - done <= 2 * 2 + 2
    assert len(taken) == 30


def test_no_work_is_blamed_when_workers_cannot_start(
    jobs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_work", jobs.never_start)
    with (
        open_engine(ComputeParams(processes=1)) as engine,
        pytest.raises(RuntimeError, match="code 3 before it did anything"),
    ):
        list(engine.map(jobs.double, numbers(1, 1)))


def test_closing_ends_the_workers(jobs: ModuleType) -> None:
    with open_engine(ComputeParams(processes=2)) as engine:
        list(engine.map(jobs.double, numbers(6, 1)))
        workers = multiprocessing.active_children()
        assert workers
    assert not any(worker.is_alive() for worker in workers)


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import worker_jobs
from ganpipe.data.engine import open_engine
from ganpipe.params import ComputeParams

if __name__ == "__main__":
    try:
        with open_engine(ComputeParams(processes=2)) as engine:
            print("open", flush=True)
            chunks = ((n, [0.02 if n < 20 else {later}]) for n in range(500))
            for _, _, pids in engine.map(worker_jobs.sleep, chunks):
                print(pids[0], flush=True)
    except KeyboardInterrupt:
        print("stopped")
"""


@pytest.fixture
def working(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process of its own group that has opened an engine and works on; after 20 short jobs on
    long ones, where asked for."""
    script = tmp_path / "work.py"
    script.write_text(SCRIPT.format(here=str(HERE), later=getattr(request, "param", 0.02)))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell that runs the tests in the background makes them, and this, deaf to it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and is still listed does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("working", [60.0], indirect=True)
def test_workers_end_when_their_parent_is_killed(working: subprocess.Popen[str]) -> None:
    assert working.stdout is not None
    assert working.stdout.readline() == "open\n"
    workers = {int(working.stdout.readline()) for _ in range(20)}
    assert any(alive(pid) for pid in workers)
    time.sleep(0.3)  # now they have long jobs in hand
    working.kill()
    working.wait()
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("lines", [1, 6])
def test_ctrl_c_ends_everything_without_a_word_from_workers(
    working: subprocess.Popen[str], lines: int
) -> None:
    """Right after the start, when workers are still being made, and in mid-work."""
    assert working.stdout is not None
    for _ in range(lines):
        working.stdout.readline()
    os.killpg(working.pid, signal.SIGINT)
    said, complaints = working.communicate(timeout=20)
    assert said.endswith("stopped\n")
    assert complaints == ""
