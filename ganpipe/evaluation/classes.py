"""Measures within each class: what an overall distance hides when classes are mixed up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import frechet_of_features
from ganpipe.evaluation.features import same_size
from ganpipe.evaluation.manifold import own_neighbours
from ganpipe.evaluation.neighbours import nearest


@dataclass(frozen=True)
class ClassMeasures:
    """One class of the real images against the generated images of the same class."""

    name: str
    real: int
    generated: int
    distance: float
    """Frechet distance of the class; higher at lower counts, so compare at equal ones only."""
    coverage: float | None
    """Share of its real images' balls that hold one of its generated images; None when the class
    has no more real images than neighbours asked for."""


def class_measures(
    real: NDArray[Any],
    real_labels: NDArray[np.int64],
    generated: NDArray[Any],
    generated_labels: NDArray[np.int64],
    names: Sequence[str],
    k: int = 5,
    advance: Callable[[int], None] | None = None,
) -> list[ClassMeasures]:
    """Frechet distance and coverage within each class, in the order of `names`.

    The mean of the distances is intra-FID: Miyato and Koyama, "cGANs with projection
    discriminator" (ICLR 2018), section 4. A class has few images, hence the low-rank route of
    `frechet_of_features`. Coverage: Naeem et al. (ICML 2020) with the images of one class alone.
    `advance` is told 1 for each class. Labels are numbers of `names`.
    Raises GanpipeError when a class has fewer than 2 images on a side.
    """
    same_size(real.shape[1], generated.shape[1])
    check_classes(real_labels, names, "real")
    check_classes(generated_labels, names, "generated")
    measures = []
    for label, name in enumerate(names):
        ours = np.asarray(real[real_labels == label])
        theirs = np.asarray(generated[generated_labels == label])
        distance = frechet_of_features(ours, theirs)
        covered = coverage(ours, theirs, k) if len(ours) > k else None
        measures.append(ClassMeasures(name, len(ours), len(theirs), distance, covered))
        if advance:
            advance(1)
    return measures


def coverage(real: NDArray[Any], generated: NDArray[Any], k: int = 5) -> float:
    """Share of real images with a generated one nearer than their k-th nearest real: 0 ... 1."""
    reach = own_neighbours(real, k)[:, -1]
    return float((nearest(real, generated, 1)[0][:, 0] < reach).mean())


def check_classes(labels: NDArray[np.int64], names: Sequence[str], side: str) -> None:
    """Raises GanpipeError for labels outside `names`, and for classes with fewer than 2 images."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise GanpipeError(
            f"labels of {side} images are {labels.min()} ... {labels.max()}, but there are "
            f"{len(names)} classes: both sets must have the same classes"
        )
    counts = np.bincount(labels, minlength=len(names))
    if few := [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < 2]:
        shown = ", ".join(few[:10]) + (f" and {len(few) - 10} more" if len(few) > 10 else "")
        raise GanpipeError(
            f"classes with fewer than 2 {side} images: {shown}: measures within classes need 2 "
            f"or more of each; raise evaluate.samples or leave these classes out"
        )
