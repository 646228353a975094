"""Usefulness: what a classifier learns from generated images, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.classifier import (
    Read,
    accuracy_by_class,
    check_labels,
    train_classifier,
)

SHOWN = 40_000  # images shown to each of the two classifiers


class Labelled(NamedTuple):
    """Images by number, and the class of each: int64 [n]."""

    read: Read
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Usefulness:
    """Accuracies in [0, 1], of classifiers trained on `count` images each."""

    count: int
    generated_to_real: float
    """Trained on generated images, tested on real ones: the classification accuracy score of
    Ravuri and Vinyals, "Classification accuracy score for conditional generative models"
    (NeurIPS 2019), with a small network of our own instead of ResNet-50. Low when generated
    images are bad, or when they lack variety."""
    real_to_real: float
    """Trained on real images instead: what generated_to_real is to be compared with."""
    real_to_generated: float
    """Trained on real images, tested on generated ones: GAN-test of Shmelkov et al., "How good is
    my GAN?" (ECCV 2018). Low when generated images are bad or of the wrong class; above
    real_to_real when they are only typical ones."""
    generated_to_real_by_class: list[float]
    real_to_real_by_class: list[float]


def usefulness(
    generated: Labelled,
    real: Labelled,
    test: Labelled,
    classes: Sequence[str],
    *,
    seed: int = 0,
    shown: int = SHOWN,
    advance: Callable[[int], None] | None = None,
) -> Usefulness:
    """Train on generated and on as many real images, test on real and on generated ones.

    Of the larger of `generated` and `real` a random part is used. Progress comes to
    2 * shown (rounded to whole batches) + 2 * len(test) + count. Raises GanpipeError for labels
    that name no class, and for classes that one of the three sets lacks.
    """
    for name, images in (("generated", generated), ("training", real), ("test", test)):
        _check_classes(name, images.labels, classes)
    count = min(len(generated.labels), len(real.labels))
    made = _part(generated, count, seed, "usefulness/generated")
    true = _part(real, count, seed, "usefulness/real")
    from_made = train_classifier(*made, classes, seed=seed, shown=shown, advance=advance)
    from_true = train_classifier(*true, classes, seed=seed, shown=shown, advance=advance)
    made_to_real = accuracy_by_class(from_made, *test, advance)
    real_to_real = accuracy_by_class(from_true, *test, advance)
    real_to_made = accuracy_by_class(from_true, *made, advance)
    return Usefulness(
        count=count,
        generated_to_real=_overall(made_to_real, test.labels),
        real_to_real=_overall(real_to_real, test.labels),
        real_to_generated=_overall(real_to_made, made.labels),
        generated_to_real_by_class=made_to_real.tolist(),
        real_to_real_by_class=real_to_real.tolist(),
    )


def _check_classes(name: str, labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    check_labels(labels, classes)
    counts = np.bincount(labels, minlength=len(classes))
    if missing := [classes[int(number)] for number in np.flatnonzero(counts == 0)]:
        raise GanpipeError(
            f"the {name} images have none of {', '.join(missing)}: usefulness needs every class "
            f"in generated, training and test images; give more images or leave the class out"
        )


def _part(images: Labelled, count: int, seed: int, purpose: str) -> Labelled:
    """`count` of the images, chosen by seed and purpose."""
    chosen = np.sort(randomness.permutation(seed, purpose, 0, len(images.labels))[:count])
    return Labelled(lambda numbers: images.read(chosen[numbers]), images.labels[chosen])


def _overall(by_class: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The share of all images from the shares of each class."""
    counts = np.bincount(labels, minlength=len(by_class))
    return float(np.average(by_class[counts > 0], weights=counts[counts > 0]))
