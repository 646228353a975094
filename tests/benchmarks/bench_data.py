"""Figures of the data path, all measured in one run and shown as ratios: `make bench-data`.

The figures mean something on a machine with nothing else to do; the table says the load that it
began under. Nothing fails when a promise is not kept, the table says so.
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
    "decode": "decode, crop and resize v dataset_tool and v the bare libraries",
    "scale": "ingest and preprocess of 202,599 images: linear time, flat memory",
    "batches": "batches from shards v ImageFolder + DataLoader, and v a training step",
    "transfer": "dvc add, push, pull and status, packed v files",
    "again": "a second ingest, of a source that is unchanged or grew by 1 %",
    "growth": "what is uploaded again after 1 % was added or deleted",
}


def main() -> None:
    """Run the parts that were asked for, print a table, write the JSON file."""
    parser = argparse.ArgumentParser(
        prog="make bench-data ARGS=...",
        description=__doc__,
        epilog="parts: " + "; ".join(f"{name}: {what}" for name, what in PARTS.items()),
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="all of them when none is named")
    parser.add_argument("--out", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--quick", action="store_true", help="small sizes: proves the code only")
    parser.add_argument(
        "--folder", type=Path, help="where to work (needs 15 GB, removed again; default: /tmp)"
    )
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    about, rows = machine(), []
    for name in asked.parts or PARTS:
        print(f"{name}: {PARTS[name]}", flush=True)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ganpipe-bench-", dir=asked.folder) as folder:
            place = Place(Path(folder), asked.quick, len(os.sched_getaffinity(0)))
            figures = importlib.import_module(f"tests.benchmarks.parts.{name}").measure(place)
        rows += as_json(name, figures, judged=not asked.quick)
        if asked.out:  # after each part, so that one that fails takes nothing along
            write_json(asked.out, {"machine": about, "quick": asked.quick, "figures": rows})
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    show(rows)


if __name__ == "__main__":
    main()
