"""Images per second that `ganpipe generate` writes as shards, against the bare forward.

`python -m tests.benchmarks.generation --help` has the options. Prints rates and their ratio: the
median of ratios of neighbouring blocks, so that a busy spell of the machine hits both. The bare
forward is the network alone on batches of the same size, with latents that are there already.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ganpipe.compute import cores, settle
from ganpipe.generation import generate
from ganpipe.generation.samples import BATCH
from ganpipe.networks import (
    Generator,
    NetworkConfig,
    build_generator,
    load_generator,
    save_generator,
)
from ganpipe.params import ModelParams
from ganpipe.params.generate import generate_params

PROMISED = 0.9


def save_model(folder: Path, side: int, channels: int, classes: int) -> Path:
    """A generator of the default architecture, untrained: its speed is the same."""
    folder.mkdir()
    names = [f"class {number}" for number in range(classes)]
    config = NetworkConfig.of(ModelParams(), side, side, channels, classes)
    network = build_generator(config)
    save_generator(folder, Generator(network, config, names, 0, [1] * classes))
    return folder


def forward(generator: Generator, batches: int) -> None:
    """The network alone."""
    latents = torch.randn(BATCH, generator.config.latent)
    classes = generator.config.classes
    labels = torch.arange(BATCH) % classes if classes else None
    with torch.inference_mode():
        for _ in range(batches):
            generator.network(latents, labels)


@dataclass(frozen=True)
class Spent:
    """What a piece of work took, in seconds."""

    wall: float
    cpu: float
    """Of all threads: what a busy machine changes little."""


def spent(work: Callable[[], object]) -> Spent:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def compare(model: Path, folder: Path, asked: argparse.Namespace) -> str:
    """Images per second of forward and of generate, and the medians of their ratios."""
    generator = load_generator(model)
    forward(generator, 20)
    batches = max(64, round(64 * asked.seconds / spent(lambda: forward(generator, 64)).wall))
    count = batches * BATCH
    params = generate_params(
        model=str(model),
        n=count,
        format="shards",
        destination=str(folder / "out"),
        threads=asked.threads,
    )
    taken = []
    for _ in range(asked.rounds):
        shutil.rmtree(folder / "out", ignore_errors=True)
        bare = spent(lambda: forward(generator, batches))
        taken.append((bare, spent(lambda: generate(params, folder))))
    wall, cpu = (
        statistics.median(getattr(bare, kind) / getattr(whole, kind) for bare, whole in taken)
        for kind in ("wall", "cpu")
    )
    bare_rate, rate = (
        count / statistics.median(each.wall for each in side) for side in zip(*taken, strict=True)
    )
    kept = "" if wall >= PROMISED else f" (promised: {PROMISED})"
    return (
        f"forward {bare_rate:,.0f}, generate {rate:,.0f} images/s, ratio {wall:.3f}{kept}; "
        f"of CPU time {cpu:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sides", type=int, nargs="*", default=[28, 64])
    about = "that a block of forwards takes; few, and starting a request counts"
    parser.add_argument("--seconds", type=float, default=12.0, help=about)
    asked = parser.parse_args()
    settle(asked.threads)
    with TemporaryDirectory(prefix="ganpipe-") as temporary:
        for side in asked.sides:
            channels, classes = (1, 10) if side < 32 else (3, 0)
            folder = Path(temporary) / str(side)
            folder.mkdir()
            model = save_model(folder / "model", side, channels, classes)
            print(f"{side}x{side}x{channels}: {compare(model, folder, asked)}", flush=True)


if __name__ == "__main__":
    main()
