"""Evaluate: sample the generator, measure the samples, make the pictures beside the numbers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganpipe import images
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import Moments, frechet_distance
from ganpipe.evaluation.extractors import Extractor, make_extractor
from ganpipe.evaluation.reference import FEW_SAMPLES, GRID, REALS, read_reference
from ganpipe.events import progress
from ganpipe.files import replacing_folder, sha256, write_json
from ganpipe.networks import Generator, load_generator, sample
from ganpipe.networks.generator import WEIGHTS
from ganpipe.params import EvaluateParams

METRICS, SAMPLES = "metrics.json", "samples.png"
BLOCK = 256  # images sampled and measured at a time


def add_samples(
    moments: Moments,
    generator: Generator,
    extractor: Extractor,
    samples: int,
    seed: int,
    purpose: str,
    block: int = BLOCK,
) -> Iterator[int]:
    """Take the features of samples into the moments; yields how many so far, a block at a time."""
    for first in range(0, samples, block):
        count = min(block, samples - first)
        made = sample(generator, count, seed, purpose=purpose, first=first)
        moments.add(extractor(made))
        yield first + count


def evaluate(model: Path, reference: Path, params: EvaluateParams, output: Path) -> dict[str, Any]:
    """Write report/: metrics.json with its whole protocol, samples.png, reals.png.

    Returns the metrics. Raises GanpipeError when the reference was made with other parameters.
    """
    known = read_reference(reference)
    extractor = make_extractor(params)
    protocol = known.protocol
    asked = {
        "extractor": extractor.name,
        "extractor_version": extractor.version,
        "weights_sha256": extractor.weights_sha256,
        "samples": params.samples or protocol["samples"],
        "seed": params.seed,
    }
    if other := [
        f"{key}={protocol[key]}" for key, value in asked.items() if protocol[key] != value
    ]:
        raise GanpipeError(
            f"{reference} was made with {', '.join(other)}, evaluate asks for other values: "
            f"run the stage reference"
        )
    generator = load_generator(model)
    moments = Moments(extractor.features)
    samples: int = protocol["samples"]
    with progress("evaluate", "features of generated images", samples) as bar:
        for done in add_samples(moments, generator, extractor, samples, params.seed, "evaluate"):
            bar.update(done)
    metric: str = protocol["metric"]
    metrics: dict[str, Any] = {
        metric: frechet_distance(known.moments, moments),
        f"floor_{metric}": known.floor,
        "images": generator.images,
        "protocol": protocol,
        "generator_sha256": sha256(model / WEIGHTS),
    }
    if samples < FEW_SAMPLES:
        metrics["warning"] = (
            f"{samples} images on each side are few for {extractor.features} features: compare "
            f"this distance only with others of the same protocol"
        )
    with replacing_folder(output) as folder:
        write_json(folder / METRICS, metrics)
        grid = images.grid(sample(generator, GRID, params.seed, purpose="grid"))
        images.write_png(folder / SAMPLES, grid)
        shutil.copyfile(reference / REALS, folder / REALS)
    return metrics
