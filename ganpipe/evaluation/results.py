"""Measures as flat numbers with names, and the report folder that holds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ganpipe.files import read_json

METRICS, EVALUATION = "metrics.json", "evaluation.json"
FLOOR = "floor_"
# suffix of a measure's own name; key of the numbers that `dvc metrics` shows
KID, PRECISION, RECALL, DENSITY, COVERAGE = "kid", "precision", "recall", "density", "coverage"
INTRA, CLASS_COVERAGE = "intra", "class_coverage"
HIGHER = (PRECISION, RECALL, DENSITY, COVERAGE, CLASS_COVERAGE, "accuracy")
MEANS = {
    KID: "unbiased distance of feature distributions; nought where they are equal",
    PRECISION: "share of samples that look real",
    RECALL: "share of real images that the samples cover",
    DENSITY: "how densely real images surround the samples; 1 where both are alike",
    COVERAGE: "share of real images with a sample nearby",
    INTRA: "mean of the distances within each class",
    CLASS_COVERAGE: "least coverage of any class",
}


def read_results(report: Path) -> dict[str, Any]:
    """The numbers of a report folder, with their protocol and the generator's sha256.

    A pipeline of the user's own may keep all of them in metrics.json.
    """
    metrics: dict[str, Any] = read_json(report / METRICS)
    if (report / EVALUATION).is_file():
        evaluation = read_json(report / EVALUATION)
        metrics |= {key: evaluation[key] for key in ("protocol", "generator_sha256")}
    return metrics
