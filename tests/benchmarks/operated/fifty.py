"""Memory of worker and servers over many runs of a pipeline that comes from the cache."""

from __future__ import annotations

import psutil

from tests.benchmarks.figures import Figure, Place
from tests.benchmarks.operated.servers import SERVICES, Operated, operated, small

EVERY = 10  # runs between two rows; the first of them are warm-up
FLAT = 0.1  # MB a run


def measure(place: Place) -> list[Figure]:
    """USS of each service's processes after each run, and its slope after the warm-up."""
    runs, warm_up = place.size(50, 4), place.size(EVERY, 2)
    used: dict[str, list[float]] = {name: [] for name in SERVICES}
    # more polls in less time are harder on the worker
    with operated(place.folder, small(), PREFECT_WORKER_QUERY_SECONDS="1") as there:
        trained = there.ended(there.start("train/on-demand", small().dump()))
        print(f"trained: {trained.end - trained.running:.0f} s", flush=True)
        for number in range(1, runs + 1):
            _cached(there)
            for name in SERVICES:
                used[name].append(_megabytes(there, name))
            if number % warm_up == 0:
                told = ", ".join(f"{name} {values[-1]:.1f}" for name, values in used.items())
                print(f"after {number} runs: {told} MB", flush=True)
    figures = []
    for name, values in used.items():
        after = values[warm_up - 1 :]
        figures += [
            Figure(f"{name}: after {warm_up} runs", after[0], "MB", samples=values),
            Figure(f"{name}: after {runs} runs", after[-1], "MB"),
            Figure(
                f"{name}: slope after the first {warm_up}", slope(after), "MB a run", None, FLAT
            ),
        ]
    return figures


def _cached(there: Operated) -> None:
    run = there.ended(there.start("train/on-demand", small().dump()))
    there.wait_until_idle()
    states = there.ask("POST", "task_runs/filter", {"flow_runs": {"id": {"any_": [run.id]}}})
    fresh = [each["name"] for each in states if each["state_name"] == "Completed"]
    if fresh != ["register"]:
        raise RuntimeError(f"{run.name} was to come from the cache, and these ran: {fresh}")


def _megabytes(there: Operated, service: str) -> float:
    """What the processes of a service use and share with nobody."""
    total = 0
    for process in there.processes(service):
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:  # a helper that ended meanwhile
            continue
    return total / 2**20


def slope(values: list[float]) -> float:
    """By least squares, for each step from one value to the next."""
    import numpy as np

    return float(np.polyfit(np.arange(len(values)), values, 1)[0])
