"""Usefulness: what a classifier learns from generated images, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.classifier import (
    Classifier,
    Read,
    accuracy_by_class,
    check_labels,
    load_classifier,
    save_classifier,
    train_classifier,
)

SHOWN = 40_000  # images shown to each of the two classifiers
SIDES = (8, 256)  # pixels that such a classifier learns from
RECORD = "accuracy_by_class"


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


@dataclass(frozen=True)
class Judge:
    """A classifier that learnt from real images, and its accuracies on unseen real ones."""

    classifier: Classifier
    by_class: NDArray[np.float64]
    """Share of each class's unseen images told rightly: float64 [classes]."""


def hindrance(
    sides: dict[str, NDArray[np.int64]], classes: Sequence[str], shape: tuple[int, int]
) -> str:
    """Why usefulness cannot be told of images by these names with these classes int64 [n]; empty
    where it can. `shape`: height and width of the images."""
    if len(classes) < 2:
        return "needs at least 2 classes"
    if min(shape) < SIDES[0] or max(shape) > SIDES[1]:
        return (
            f"the classifier learns from sides of {SIDES[0]} ... {SIDES[1]} pixels, not "
            f"{shape[0]}x{shape[1]}"
        )
    for name, labels in sides.items():
        if lacking := _lacking(labels, classes):
            named = ", ".join(lacking[:5]) + (" ..." if len(lacking) > 5 else "")
            return f"no {name} images of {named}"
    return ""


def trained_judge(
    real: Labelled,
    test: Labelled,
    classes: Sequence[str],
    count: int,
    *,
    seed: int = 0,
    shown: int = SHOWN,
    advance: Callable[[int], None] | None = None,
) -> Judge:
    """Train on `count` of the real images, chosen by the seed, and test on the unseen ones.

    Progress comes to shown (rounded to whole batches) + len(test). Raises GanpipeError for labels
    that name no class, and for classes that one of the sets lacks.
    """
    for name, images in (("training", real), ("test", test)):
        _check_classes(name, images.labels, classes)
    part = _part(real, min(count, len(real.labels)), seed, "usefulness/real")
    trained = train_classifier(*part, classes, seed=seed, shown=shown, advance=advance)
    return Judge(trained, accuracy_by_class(trained, *test, advance))


def write_judge(folder: Path, judge: Judge) -> None:
    """Write it into a folder that exists, as save_classifier does."""
    record = judge.classifier.record | {RECORD: judge.by_class.tolist()}
    save_classifier(folder, replace(judge.classifier, record=record))


def read_judge(folder: Path) -> Judge:
    """What write_judge wrote. Raises GanpipeError for files that are missing or damaged."""
    trained, _ = load_classifier(folder)
    return Judge(trained, np.array(trained.record[RECORD]))


def usefulness(
    generated: Labelled,
    test: Labelled,
    judge: Judge,
    *,
    seed: int = 0,
    shown: int = SHOWN,
    advance: Callable[[int], None] | None = None,
) -> Usefulness:
    """Train on generated images and test on real ones; let `judge` look at the generated ones.

    Of more generated images than the judge has learnt from a random part is used; it should not
    have learnt from more than there are. Progress comes to shown (rounded to whole batches) +
    len(test) + count. Raises GanpipeError for labels that name no class, and for classes that one
    of the sets lacks.
    """
    classes = judge.classifier.classes
    for name, images in (("generated", generated), ("test", test)):
        _check_classes(name, images.labels, classes)
    count = min(len(generated.labels), judge.classifier.record["images"])
    made = _part(generated, count, seed, "usefulness/generated")
    from_made = train_classifier(*made, classes, seed=seed, shown=shown, advance=advance)
    made_to_real = accuracy_by_class(from_made, *test, advance)
    real_to_made = accuracy_by_class(judge.classifier, *made, advance)
    return Usefulness(
        count=count,
        generated_to_real=_overall(made_to_real, test.labels),
        real_to_real=_overall(judge.by_class, test.labels),
        real_to_generated=_overall(real_to_made, made.labels),
        generated_to_real_by_class=made_to_real.tolist(),
        real_to_real_by_class=judge.by_class.tolist(),
    )


def _check_classes(name: str, labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    check_labels(labels, classes)
    if missing := _lacking(labels, classes):
        raise GanpipeError(
            f"the {name} images have none of {', '.join(missing)}: usefulness needs every class "
            f"in generated, training and test images; give more images or leave the class out"
        )


def _lacking(labels: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    counts = np.bincount(labels, minlength=len(classes))
    return [classes[int(number)] for number in np.flatnonzero(counts == 0)]


def _part(images: Labelled, count: int, seed: int, purpose: str) -> Labelled:
    """`count` of the images, chosen by seed and purpose."""
    chosen = np.sort(randomness.permutation(seed, purpose, 0, len(images.labels))[:count])
    return Labelled(lambda numbers: images.read(chosen[numbers]), images.labels[chosen])


def _overall(by_class: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The share of all images from the shares of each class."""
    counts = np.bincount(labels, minlength=len(by_class))
    return float(np.average(by_class[counts > 0], weights=counts[counts > 0]))
