"""A training through the worker beside plain `dvc repro`, in turns, and what the difference is.

Each pair has the same parameters, so both must end with the same dvc.lock. The cache, where DVC
also remembers runs, and the states of trainings are emptied before each.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median

from ganpipe import params as parameters
from ganpipe import workspace as workspaces
from ganpipe.compute import resolve
from ganpipe.data.sources import make_source, write_fingerprint
from ganpipe.lineage import LOCK_FILE
from ganpipe.params import Params
from ganpipe.stages import STAGES as ALL_STAGES
from tests.benchmarks.figures import Figure, Place
from tests.benchmarks.operated.servers import FlowRun, Operated, operated, small

KIMG = 300.0  # about five minutes on two cores
SERVERS = ("Prefect's server", "MLflow's server")
MOST = 3.0  # % promised
STAGES = tuple(ALL_STAGES)
STAGE = "Running stage '"


@dataclass(frozen=True)
class Plain:
    """What `dvc repro` took."""

    seconds: float
    stages: dict[str, float]
    """Seconds from the line that tells of a stage to the next, or to the end."""
    lock: str


def measure(place: Place) -> list[Figure]:
    """Plain, flow, plain, ...: each flow is held against the mean of the plain runs around it."""
    chosen = small() if place.quick else parameters.override(Params(), [f"train.kimg={KIMG:g}"])
    rounds = place.size(2, 1)
    with operated(place.folder, chosen) as there:
        # MLflow's experiment is made, files are read into memory
        there.ended(there.start("train/on-demand", small("register.model=first").dump()))
        plains = [_plain(there, chosen, 0)]
        flows, spent = [], []
        for number in range(1, rounds + 1):
            seeded = _seeded(chosen, number)
            before = {name: _cpu(there, name) for name in SERVERS}
            run, lock = _flow(there, seeded)
            flows.append(run)
            spent.append(sum(_cpu(there, name) - before[name] for name in SERVERS))
            plains.append(_plain(there, chosen, number))
            if lock != plains[-1].lock:
                raise RuntimeError(f"{run.name} ended with another {LOCK_FILE} than `dvc repro`")
    return _figures(plains, flows, spent)


def _seeded(chosen: Params, number: int) -> Params:
    """A seed of its own: the registry would know a generator that it has seen."""
    return parameters.override(chosen, [f"train.seed={number}"])


def _empty(there: Operated) -> None:
    there.wait_until_idle()
    for name in ("cache", "scratch"):
        shutil.rmtree(there.repo / ".ganpipe" / name, ignore_errors=True)


def _plain(there: Operated, chosen: Params, number: int) -> Plain:
    _empty(there)
    seeded = resolve(_seeded(chosen, number).anchored(there.repo))
    pin = workspaces.pin(there.repo)
    workspace = workspaces.create(there.repo, pin, seeded, f"plain-{number}")
    write_fingerprint(make_source(seeded.data).fingerprint(), workspace)
    state = str(there.repo / ".ganpipe")
    began, lines = time.monotonic(), []
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro"],
        cwd=workspace,
        env=there.checkout.environment(PYTHONUNBUFFERED="1", GANPIPE_STATE=state),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [(time.monotonic(), line) for line in process.stdout]
    end = time.monotonic()
    if process.returncode:
        raise RuntimeError("".join(line for _, line in lines[-30:]))
    starts = [
        (line.removeprefix(STAGE).partition("'")[0], when)
        for when, line in lines
        if line.startswith(STAGE)
    ]
    ends = [*(when for _, when in starts[1:]), end]
    stages = {name: over - when for (name, when), over in zip(starts, ends, strict=True)}
    print(f"dvc repro: {end - began:.1f} s", flush=True)
    return Plain(end - began, stages, _lock(workspace))


def _flow(there: Operated, seeded: Params) -> tuple[FlowRun, str]:
    _empty(there)
    run = there.ended(there.start("train/on-demand", seeded.dump()))
    print(f"flow run: {run.end - run.created:.1f} s", flush=True)
    return run, _lock(workspaces.workspaces(there.repo)[0])


def _lock(workspace: Path) -> str:
    return (workspace / LOCK_FILE).read_text(encoding="utf-8")


def _cpu(there: Operated, service: str) -> float:
    """Seconds that the processes of a service have computed."""
    times = [process.cpu_times() for process in there.processes(service)]
    return sum(each.user + each.system for each in times)


def _figures(plains: list[Plain], flows: list[FlowRun], spent: list[float]) -> list[Figure]:
    bases = _between([each.seconds for each in plains])
    figures = [Figure("dvc repro", median(bases), "s", samples=[each.seconds for each in plains])]
    for name in ("created", "pending", "running"):
        took = [run.end - getattr(run, name) for run in flows]
        shares = [100 * (a / b - 1) for a, b in zip(took, bases, strict=True)]
        figures += [
            Figure(f"flow run, from {name} to its end", median(took), "s", samples=took),
            Figure(f"from {name}, beyond dvc repro", median(shares), "%", None, MOST, shares),
        ]
    parts: dict[str, list[float]] = {}
    for number, run in enumerate(flows):
        for name, taken in _parts(run, plains[number : number + 2]).items():
            parts.setdefault(name, []).append(taken)
    figures += [
        Figure(f"of it {name}", median(taken), "s", samples=taken) for name, taken in parts.items()
    ]
    return [*figures, Figure("CPU time of both servers", median(spent), "s", samples=spent)]


def _between(values: list[float]) -> list[float]:
    """The mean of each value and the next."""
    return [mean(each) for each in pairwise(values)]


def _parts(run: FlowRun, around: list[Plain]) -> dict[str, float]:
    """Seconds of what a flow run does, stages less what they took in the plain runs around it."""
    stages = {name: run.tasks[name][1] - run.tasks[name][0] for name in STAGES}
    beyond = {
        name: taken - mean(each.stages[name] for each in around) for name, taken in stages.items()
    }
    first, last, register = run.tasks[STAGES[0]], run.tasks[STAGES[-1]], run.tasks["register"]
    train = beyond.pop("train")
    return {
        "the worker's poll (created to pending)": run.pending - run.created,
        "process and imports (pending to running)": run.running - run.pending,
        "pin, workspace, MLflow's run": first[0] - run.running,
        "the stage train, beyond dvc repro's": train,
        "the other stages, beyond dvc repro's": sum(beyond.values()),
        "between stages": last[1] - first[0] - sum(stages.values()),
        "report to MLflow": register[0] - last[1],
        "registration and gate": register[1] - register[0],
        "the run's report, its end": run.end - register[1],
        "less dvc repro outside its stages": mean(
            sum(each.stages.values()) - each.seconds for each in around
        ),
    }
