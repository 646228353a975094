"""Seconds of every part of the stage evaluate on Fashion-MNIST, and of the stage reference.

The generator is of the default size and untrained: the measures cost the same for any samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from cProfile import Profile
from typing import Any

import numpy as np

from ganpipe.evaluation.classes import class_measures
from ganpipe.evaluation.copying import copying
from ganpipe.evaluation.describe import report_of
from ganpipe.evaluation.distances import bootstrap, extrapolated, frechet_distance
from ganpipe.evaluation.kernel import kernel_distance
from ganpipe.evaluation.made import samples_of
from ganpipe.evaluation.manifold import manifold
from ganpipe.evaluation.measure import evaluate
from ganpipe.evaluation.real_images import make_reference
from ganpipe.evaluation.report import write_report
from ganpipe.evaluation.usefulness import usefulness
from ganpipe.files import replacing_folder
from ganpipe.networks import Generator, NetworkConfig, save_generator
from ganpipe.params import EvaluateParams
from ganpipe.training.trainer import Networks
from tests.benchmarks.figures import Figure, silence
from tests.benchmarks.training.place import Place

# functions of which none calls another
STEPS: dict[str, Callable[..., Any]] = {
    "samples and their features": samples_of,
    "distance": frechet_distance,
    "interval": bootstrap,
    "extrapolation": extrapolated,
    "kernel distance": kernel_distance,
    "precision, recall, density, coverage": manifold,
    "measures within classes": class_measures,
    "memorisation": copying,
    "usefulness": usefulness,
    "pictures of the report": report_of,
    "pages of the report": write_report,
}


def measure(place: Place) -> list[Figure]:
    """The stages' own functions, evaluate's under a profiler that only its Python calls slow."""
    samples = place.size(10_000, 200)
    params = EvaluateParams(
        samples=samples, neighbours=place.size(10_000, 200), threads=place.threads
    )
    train, test = place.fashion(), place.fashion("test")
    work = place.below("evaluate")
    work.mkdir(parents=True, exist_ok=True)
    model, train_params = place.settings("dcgan-classes")
    config = NetworkConfig.of(model, train.height, train.width, train.channels, len(train.classes))
    assert train.labels is not None
    counts = np.bincount(train.labels).tolist()
    network = Networks.fresh(config, train_params).average
    with replacing_folder(work / "model") as folder:
        save_generator(folder, Generator(network, config, train.classes, 0, counts))
    began = time.perf_counter()
    with silence():
        make_reference(train, test, params, work / "reference")
    reference = time.perf_counter() - began
    profile = Profile()
    began = time.perf_counter()
    with silence(), profile:
        evaluate(work / "model", work / "reference", (train, test), params, work / "report")
    whole = time.perf_counter() - began
    profile.create_stats()
    steps = {name: _seconds(profile, step) for name, step in STEPS.items()}
    label = f"{samples:,} images"
    return [
        Figure(f"{label}: stage reference, once for a data set", reference, "s"),
        Figure(f"{label}: stage evaluate", whole, "s"),
        *(Figure(f"{label}: {name}", seconds, "s") for name, seconds in steps.items()),
        Figure(f"{label}: the rest", whole - sum(steps.values()), "s"),
    ]


def _seconds(profile: Profile, step: Callable[..., Any]) -> float:
    """Seconds inside a function; 0 where it was not called, as extrapolated for few samples."""
    code = step.__code__
    found = profile.stats.get((code.co_filename, code.co_firstlineno, code.co_name))
    return float(found[3]) if found else 0.0
