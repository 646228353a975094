"""A stage in a process of its own, as `dvc repro` runs it: its time, and what memory it takes.

`python -m tests.benchmarks.alone ingest '{"source": ..., "output": ...}'` prints a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
SECONDS_BETWEEN_LOOKS = 0.05


@dataclass(frozen=True)
class Ran:
    """What one run took."""

    seconds: float
    """Of the stage's function, its late imports and its worker processes included."""
    main_cpu: float
    """Seconds that the main process computed."""
    main_bytes: int
    """Peak resident memory of the main process."""
    worker_bytes: int
    """Peak resident memory of the largest other process."""
    result: dict[str, Any]
    """What the stage returned."""


def alone(stage: str, **options: Any) -> Ran:
    """Run `ingest` or `preprocess` (see `main`) in a new process. Raises when it fails."""
    command = [sys.executable, "-m", "tests.benchmarks.alone", stage]
    command.append(json.dumps(options, default=str))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        peaks: dict[int, int] = {}
        main = psutil.Process(running.pid)
        while running.poll() is None:
            _look(main, peaks)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        last = running.stdout.read().splitlines()[-1:]
    if running.returncode != 0:
        raise RuntimeError(f"{stage} ended with {running.returncode}: {last}")
    told = json.loads(last[0])
    main_bytes = max(told.pop("main_bytes"), peaks.pop(running.pid, 0))
    return Ran(**told, main_bytes=main_bytes, worker_bytes=max(peaks.values(), default=0))


def _look(main: psutil.Process, peaks: dict[int, int]) -> None:
    """Note the high-water mark of every process below `main`."""
    try:
        processes = [main, *main.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        peaks[process.pid] = max(peaks.get(process.pid, 0), _high_water(process.pid))


def _high_water(pid: int) -> int:
    """Peak resident memory of a process in bytes; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = text.partition("VmHWM:")[2].split()
    return int(found[0]) * 1024 if found else 0


def main(stage: str, options: dict[str, Any]) -> None:
    """Run a stage and print what it took.

    ingest: source (a folder), output, processes, cache (a folder or null). preprocess: source
    (data/raw), output (train and test come to lie below it), processes, resolution.
    """
    from ganpipe.data.ingest import ingest
    from ganpipe.data.preprocess import preprocess
    from ganpipe.data.sources.folder import Folder
    from ganpipe.params import ComputeParams, DataParams
    from tests.benchmarks.figures import silence

    source, output = Path(options["source"]), Path(options["output"])
    compute = ComputeParams(processes=options["processes"])
    params = DataParams(source="folder", path=str(source), resolution=options.get("resolution", 0))
    began = time.perf_counter()
    with silence():
        if stage == "ingest":
            cache = Path(options["cache"]) if options.get("cache") else None
            result = ingest(Folder(params.path), output, params, compute, cache)
        else:
            outputs = {side: output / side for side in ("train", "test")}
            result = dict(preprocess(source, outputs, params, compute))
    told = {
        "seconds": time.perf_counter() - began,
        "main_cpu": time.process_time(),
        "main_bytes": _high_water(psutil.Process().pid),
        "result": result,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
