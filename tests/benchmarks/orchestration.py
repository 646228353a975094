"""Figures of orchestration, parts by name: `python -m tests.benchmarks.orchestration nothing-new`.

Each part starts Prefect, MLflow and a worker of its own, as `make ui` does, on a copy of this
code. The figures mean something on a machine with nothing else to do; the table says the load
that it began under. Nothing fails when a promise is not kept, the table says so.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
import time
from pathlib import Path

from ganpipe.files import write_json
from tests.benchmarks.figures import Place, as_json, machine, show

PARTS = {
    "overhead": "a training of five minutes through the worker v plain dvc repro (30 minutes)",
    "nothing-new": "a scheduled retrain with nothing to do, ten times (7 minutes)",
    "fifty": "memory of worker and servers over 50 runs from the cache (15 minutes)",
}
OURS = ("PREFECT_", "MLFLOW_", "GANPIPE_", "DVC_", "GIT_")


def main() -> None:
    """Run the parts that were asked for, print a table, write the JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.orchestration",
        description=__doc__,
        epilog="parts: " + "; ".join(f"{name}: {what}" for name, what in PARTS.items()),
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="all of them when none is named")
    parser.add_argument("--out", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--quick", action="store_true", help="small sizes: proves the code only")
    parser.add_argument("--folder", type=Path, help="where to work (removed again; default: /tmp)")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]  # no server but the part's own
    about, rows = machine(), []
    for name in asked.parts or PARTS:
        print(f"{name}: {PARTS[name]}", flush=True)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ganpipe-bench-", dir=asked.folder) as folder:
            place = Place(Path(folder), asked.quick, len(os.sched_getaffinity(0)))
            module = f"tests.benchmarks.operated.{name.replace('-', '_')}"
            figures = importlib.import_module(module).measure(place)
        rows += as_json(name, figures, judged=not asked.quick)
        if asked.out:  # after each part, so that one that fails takes nothing along
            write_json(asked.out, {"machine": about, "quick": asked.quick, "figures": rows})
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    print(f"load when it began: {about['load_before']:.1f}")
    show(rows)


if __name__ == "__main__":
    main()
