"""Figures of evaluation: `make bench-eval`, parts by name: `ARGS="inception distance"`.

Ratios are of variants that took turns in one run. They mean something on a machine with nothing
else to do; the table says the load that they began under. Inception's weights are made up, with
the shapes of the real ones: its speed does not depend on them. Nothing fails when a promise is
not kept, the table says so.
"""

from __future__ import annotations

import argparse
import importlib
import time
from importlib.metadata import version
from pathlib import Path

from ganpipe.compute import cores, settle
from ganpipe.files import write_json
from ganpipe.stages import state_folder
from tests.benchmarks.figures import as_json, machine, show
from tests.benchmarks.training.place import Place

PARTS = {
    "inception": "10,000 images against a cached reference v torch-fidelity (6 minutes)",
    "lite0": "images/s v the plain network of its package (2 minutes)",
    "error": "what bf16 does to Lite0's features and distances (12 minutes)",
    "distance": "the distance from given features v scipy.linalg.sqrtm (6 minutes)",
    "memory": "peak memory at 10,000 and at 100,000 images (5 minutes)",
    "evaluate": "seconds of each part of evaluate on Fashion-MNIST (15 minutes)",
}
COMPARED = ("scipy", "torch-fidelity", "efficientnet-lite-pytorch")


def main() -> None:
    """Run the parts that were asked for, print a table, write the JSON file."""
    asked, place = _asked()
    about, rows = machine() | {"threads": place.threads}, []
    about["versions"] |= {name: version(name) for name in COMPARED}
    settle(place.threads)
    for name in asked.parts or PARTS:
        print(f"{name}: {PARTS[name]}", flush=True)
        began = time.perf_counter()
        figures = importlib.import_module(f"tests.benchmarks.evaluation.{name}").measure(place)
        rows += as_json(name, figures, judged=not asked.quick)
        if asked.out:  # after each part, so that one that fails takes nothing along
            write_json(asked.out, {"machine": about, "quick": asked.quick, "figures": rows})
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    print(f"load when it began: {about['load_before']:.1f}, threads: {place.threads}")
    show(rows)


def _asked() -> tuple[argparse.Namespace, Place]:
    parser = argparse.ArgumentParser(
        prog="make bench-eval ARGS=...",
        description=__doc__,
        epilog="parts: " + "; ".join(f"{name}: {what}" for name, what in PARTS.items()),
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="all of them when none is named")
    parser.add_argument("--out", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--quick", action="store_true", help="small sizes: proves the code only")
    parser.add_argument("--folder", type=Path, help="kept; default: bench-eval in the state folder")
    parser.add_argument("--threads", type=int, default=cores(), help="default: every core")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    folder = (asked.folder or state_folder() / "bench-eval").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return asked, Place(folder, asked.quick, asked.threads)


if __name__ == "__main__":
    main()
