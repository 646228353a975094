"""Figures of networks and training: `make bench-train`, parts by name: `ARGS="throughput"`.

Ratios are of variants that took turns in one run. Figures of speed mean something on a machine
with nothing else to do; the table says the load that they began under. `stacked` and `quality`
are long: they keep their runs in the folder and go on with them when they are started again.
Nothing fails when a promise is not kept, the table says so.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path

from ganpipe.compute import cores
from ganpipe.files import write_json
from ganpipe.stages import state_folder
from tests.benchmarks.figures import as_json, machine, show
from tests.benchmarks.training.configs import CONFIGS
from tests.benchmarks.training.place import Place

PARTS = {
    "throughput": "images/s v plain eager float32, and v the usual script (10 minutes)",
    "outside": "share of a step outside forward, backward and optimizer (1 minute)",
    "overhead": "the loop v bare steps of the same arithmetic (3 minutes)",
    "compiled": "torch.compile of the generator (3 minutes)",
    "gaussians": "modes found of 25 Gaussians (5 minutes)",
    "stacked": "modes found of 1,000 of stacked Fashion-MNIST (45 minutes)",
    "articles": "do a classifier and you recognise what the tutorials' presets learn (15 minutes)",
    "checkpoint": "size of the exact state at FFHQ-256, seconds to save and restore (10 minutes)",
    "bf16": "final FIDs of bf16 and float32 (45 minutes)",
    "quality": "FID against minutes of training (half an hour and a bit for each configuration)",
}


def main() -> None:
    """Run the parts that were asked for, print a table, write the JSON file."""
    asked, place = _asked()
    about, rows = machine() | {"threads": place.threads}, []
    for name in asked.parts or PARTS:
        print(f"{name}: {PARTS[name]}", flush=True)
        began = time.perf_counter()
        figures = importlib.import_module(f"tests.benchmarks.training.{name}").measure(place)
        rows += as_json(name, figures, judged=not asked.quick)
        if asked.out:  # after each part, so that one that fails takes nothing along
            write_json(asked.out, {"machine": about, "quick": asked.quick, "figures": rows})
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
    print(f"load when it began: {about['load_before']:.1f}, threads: {place.threads}")
    show(rows)


def _asked() -> tuple[argparse.Namespace, Place]:
    parser = argparse.ArgumentParser(
        prog="make bench-train ARGS=...",
        description=__doc__,
        epilog="parts: " + "; ".join(f"{name}: {what}" for name, what in PARTS.items()),
    )
    parser.add_argument("parts", nargs="*", metavar="part", help="all of them when none is named")
    parser.add_argument("--out", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--quick", action="store_true", help="small sizes: proves the code only")
    parser.add_argument(
        "--folder", type=Path, help="kept; default: bench-train in the state folder"
    )
    parser.add_argument("--threads", type=int, default=cores(), help="default: every core")
    parser.add_argument("--minutes", type=_numbers, default=[], help="quality: such as 4,30")
    parser.add_argument(
        "--configs", type=_names, default=[], help="instead of a part's own: resnet,dcgan"
    )
    parser.add_argument("--kimg", type=float, help="stacked, bf16: length of each run")
    parser.add_argument("--seeds", type=int, default=0, help="bf16: how many")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    if unknown := set(asked.configs) - set(CONFIGS):
        parser.error(f"no such config: {', '.join(sorted(unknown))}; known: {', '.join(CONFIGS)}")
    folder = (asked.folder or state_folder() / "bench-train").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(
        folder, asked.quick, asked.threads, asked.minutes, asked.configs, asked.kimg, asked.seeds
    )
    return asked, place


def _names(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
