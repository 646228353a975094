"""Peak memory of an evaluation of 10,000 and of 100,000 images, each in a process of its own.

`python -m tests.benchmarks.evaluation.memory headline 10000 FOLDER` is such a process. The
generator is a small one and the feature network a small classifier, both real: what would grow
does so whatever their size.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ganpipe.compute import settle
from ganpipe.evaluation import features as stored
from ganpipe.evaluation.classifier import FEATURES, save_classifier, train_classifier
from ganpipe.evaluation.comparison import compare, real_side
from ganpipe.evaluation.distances import moments_of
from ganpipe.evaluation.extractors.classifier import ClassifierExtractor
from ganpipe.evaluation.made import samples_of
from ganpipe.evaluation.measure import distance
from ganpipe.evaluation.reference import Reference
from ganpipe.files import replacing_folder
from ganpipe.networks import Generator, NetworkConfig, load_generator, save_generator
from ganpipe.params import ModelParams
from ganpipe.training.trainer import Networks
from tests.benchmarks.alone import ROOT, SECONDS_BETWEEN_LOOKS
from tests.benchmarks.figures import Figure, silence
from tests.benchmarks.training.place import Place

MIB = 2**20
CEILING = 1.1  # times the memory at a tenth of the images
SHARE = 0.25  # of the bytes that pixels and features of the further images take
HEADLINE, ALL = "headline", "all measures"
SEED = 1
REALS = "reals.npy"


@dataclass(frozen=True)
class _Peak:
    """Of one process, in bytes."""

    resident: int
    """With the pages of files that are mapped, which the system takes back when it needs them."""
    own: int
    """Without those; as far as it was seen."""


def measure(place: Place) -> list[Figure]:
    """`headline` keeps no features; `all measures` keeps them in a file that it maps."""
    few, many = place.size(10_000, 500), place.size(100_000, 5_000)
    folder = place.below("memory")
    if folder.exists():
        shutil.rmtree(folder)
    with replacing_folder(folder) as beside:
        _prepare(place, beside, few)
    figures = []
    for kind in (HEADLINE, ALL):
        peaks = {count: _alone(kind, count, folder, place.threads) for count in (few, many)}
        for count, peak in peaks.items():
            label = f"{kind}, {count:,} images"
            figures += [
                Figure(f"{label}: resident", peak.resident / MIB, "MiB"),
                Figure(f"{label}: without mapped files", peak.own / MIB, "MiB"),
            ]
        label = f"{kind}: {many:,} v {few:,} images"
        kept = (many - few) * _bytes_of_an_image(place)
        for what, sizes, promised in (
            ("resident", [peak.resident for peak in peaks.values()], kind == HEADLINE),
            ("without mapped files", [peak.own for peak in peaks.values()], True),
        ):
            small, large = sizes
            share = (large - small) / kept
            figures += [
                Figure(f"{label}, {what}", large / small, "x", None, CEILING if promised else None),
                Figure(f"{label}, {what}, growth", share, "of the data", None,
                       SHARE if promised else None),
            ]  # fmt: skip
    return figures


def _bytes_of_an_image(place: Place) -> int:
    """Its pixels and its features, which would stay in memory if anything kept them."""
    train = place.fashion()
    pixels = train.height * train.width * train.channels
    return pixels + FEATURES * np.dtype(np.float32).itemsize


def _prepare(place: Place, folder: Path, reals: int) -> None:
    """A classifier trained for a moment, an untrained generator, features of real images."""
    train = place.fashion()
    assert train.labels is not None
    (folder / "classifier").mkdir()
    shown = place.size(20_000, 2_000)
    trained = train_classifier(train.batch, train.labels, train.classes, seed=SEED, shown=shown)
    save_classifier(folder / "classifier", trained)
    _, params = place.settings("dcgan")
    small = ModelParams(
        architecture="mlp", conditional=False, latent=32, width=128, max_width=128, blocks=2
    )
    config = NetworkConfig.of(small, train.height, train.width, train.channels)
    (folder / "model").mkdir()
    network = Networks.fresh(config, params).average
    save_generator(folder / "model", Generator(network, config, [], 0))
    extractor = ClassifierExtractor(folder / "classifier")
    with stored.writing(folder / REALS, reals, extractor.features) as file:
        file.add(extractor(train.batch(np.arange(reals))))


def _alone(kind: str, count: int, folder: Path, threads: int) -> _Peak:
    """What `main` takes in a new process. Raises when it fails."""
    command = [sys.executable, "-m", "tests.benchmarks.evaluation.memory"]
    command += [kind, str(count), str(folder), str(threads)]
    own = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        while running.poll() is None:
            own = max(own, _bytes(running.pid, "RssAnon"))
            time.sleep(SECONDS_BETWEEN_LOOKS)
        last = running.stdout.read().splitlines()[-1:]
    if running.returncode != 0:
        raise RuntimeError(f"{kind} of {count} images ended with {running.returncode}: {last}")
    return _Peak(json.loads(last[0]), own)


def _bytes(pid: int | str, field: str) -> int:
    """A size that Linux knows of a process; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = text.partition(f"{field}:")[2].split()
    return int(found[0]) * 1024 if found else 0


def main(kind: str, count: int, folder: Path, threads: int) -> None:
    """Evaluate, and print the peak of resident memory in bytes."""
    settle(threads)
    generator = load_generator(folder / "model")
    extractor = ClassifierExtractor(folder / "classifier")
    reals = stored.read(folder / REALS)
    with silence():
        if kind == HEADLINE:
            known = Reference(folder, moments_of(reals), {"samples": count}, {}, {})
            distance(generator, known, extractor, SEED)
        else:
            work = folder / f"work-{count}"
            work.mkdir()
            made = samples_of(generator, extractor, count, SEED, work)
            compare(real_side(reals, len(reals), SEED), made.features)
            shutil.rmtree(work)
    print(_bytes("self", "VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
