"""The service under load, through moves of the champion: what failed, and what 16 images take.

    python -m tests.benchmarks.service --minutes 10

First one client alone, against the bare forward of the same 16 images; then `--clients` at once
for the minutes, while the alias moves three times and each answer is compared with the images
of the version that it names. Everything lies in a temporary folder.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import torch

from ganpipe import serving
from ganpipe.networks import Generator, NetworkConfig, sample
from ganpipe.networks.generator import drawn_labels, latent_vectors
from ganpipe.params import ModelParams
from ganpipe.service import answers
from ganpipe.service.app import BATCH
from tests.service.running import Service, serve
from tests.service.versions import NAME, Versions

IMAGES, SEEDS = 16, range(8)


def quantiles(seconds: list[float]) -> str:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms ({len(seconds)} times)"


def timed(count: int, work: Callable[[int], object]) -> list[float]:
    """Seconds of each call of `work`, after a few that do not count."""
    taken = []
    for number in range(-5, count):
        began = time.perf_counter()
        work(abs(number))
        taken.append(time.perf_counter() - began)
    return taken[5:]


def forward(generator: Generator) -> Callable[[int], object]:
    latents = torch.from_numpy(latent_vectors(generator.config, 0, "generate", 0, IMAGES))
    labels = drawn_labels(generator, 0, "generate", 0, IMAGES)
    given = None if labels is None else torch.from_numpy(labels)

    def work(_: int) -> object:
        with torch.inference_mode():
            return generator.network(latents, given)

    return work


class Load:
    """Clients that ask on, and what they were answered."""

    def __init__(self, service: Service, versions: Versions) -> None:
        self.service = service
        self.right = {
            (version, seed): answers.sheet(serving.generate(generator, IMAGES, seed))
            for version, generator in versions.generators.items()
            for seed in SEEDS
        }
        self.stop = threading.Event()
        self.seconds: list[float] = []
        self.answers: Counter[str] = Counter()

    def ask_on(self, first: int) -> None:
        """Ask until told to stop."""
        number = first
        with httpx.Client(timeout=60) as client:
            while not self.stop.is_set():
                number += 1
                began = time.perf_counter()
                outcome = self.ask(client, SEEDS[number % len(SEEDS)])
                self.seconds.append(time.perf_counter() - began)
                self.answers[outcome] += 1

    def ask(self, client: httpx.Client, seed: int) -> str:
        """Which version answered, or what was wrong."""
        try:
            answer = client.post(
                f"{self.service.address}/generate", json={"n": IMAGES, "seed": seed}
            )
        except httpx.HTTPError as error:
            return f"failed: {error!r}"
        version = answer.headers.get("x-ganpipe-version", "")
        if answer.status_code != 200:
            return f"failed: status {answer.status_code}"
        if answer.content != self.right.get((version, seed)):
            return f"failed: not version {version}'s images"
        return f"version {version}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--times", type=int, default=300, help="of each measure of one client")
    parser.add_argument("--pixels", type=int, default=28)
    parser.add_argument("--options", default="", help="more options of `ganpipe serve`")
    given = parser.parse_args()
    torch.set_num_threads(1)  # as the service's
    config = NetworkConfig.of(ModelParams(), given.pixels, given.pixels, 3, 3)
    with tempfile.TemporaryDirectory() as folder:
        versions = Versions(Path(folder))
        for seed in range(4):
            versions.register(seed, config)
        versions.move("1")
        first = versions.generators["1"]
        print("bare forward", quantiles(timed(given.times, forward(first))))
        print(
            "its sampling",
            quantiles(timed(given.times, lambda s: sample(first, IMAGES, s, batch=BATCH))),
        )
        options = ("--model", f"models:/{NAME}@champion", "--poll", "1", *given.options.split())
        with serve(versions.state, versions.uri, *options) as service:
            load = Load(service, versions)
            with httpx.Client(timeout=60) as client:
                alone = timed(
                    given.times, lambda number: load.ask(client, SEEDS[number % len(SEEDS)])
                )
            print("one client  ", quantiles(alone))
            clients = [
                threading.Thread(target=load.ask_on, args=(number,))
                for number in range(given.clients)
            ]
            for each in clients:
                each.start()
            for version in ("2", "3", "4"):
                time.sleep(given.minutes * 60 / 4)
                versions.move(version)
            time.sleep(given.minutes * 60 / 4)
            load.stop.set()
            for each in clients:
                each.join()
    print(f"{given.clients} clients   ", quantiles(load.seconds))
    for outcome, count in sorted(load.answers.items()):
        print(f"{count:8,} {outcome}")
    failed = sum(count for outcome, count in load.answers.items() if outcome.startswith("failed"))
    print(f"{load.answers.total():,} requests, {failed} failed")


if __name__ == "__main__":
    main()
