"""The tutorials' presets: do a classifier and you recognise what they learn?

Leaves a grid of each preset's samples in the folder of the benchmarks: look at them.
"""

from __future__ import annotations

import numpy as np

from ganpipe import presets
from ganpipe.compute import resolve_train, settle
from ganpipe.data.dataset import Dataset
from ganpipe.files import replacing_folder, write_json
from ganpipe.images import grid, write_png
from ganpipe.networks import load_generator, sample
from tests.benchmarks.figures import Figure
from tests.benchmarks.training.classifier import probabilities, trained
from tests.benchmarks.training.place import Place
from tests.benchmarks.training.watched import Moments, watched

SURE, SHARE = 0.9, 0.6  # of samples, the share that gets a class with at least this probability
HELD, CLASSES = 0.02, 8  # share of samples that a class has to hold, and how many classes do


def measure(place: Place) -> list[Figure]:
    """Each preset trained to its end on Fashion-MNIST; RGB ones on three equal channels."""
    classifier = trained(
        place.fashion(), place.below("classifier") / "weights", 20 if place.quick else None
    )
    figures = []
    for name in (each for each in presets.names() if each.startswith("article-")):
        chosen = presets.load(name)
        train = chosen.train.model_copy(update={"threads": place.threads})
        train = resolve_train(train.model_copy(update={"kimg": 1.0} if place.quick else {}))
        settle(train.threads)
        colours = 3 if chosen.data.channels == "rgb" else 1
        dataset = place.fashion() if colours == 1 else _coloured(place)
        folder = place.run("articles", name, chosen.model, train)
        kept, why = watched(dataset, chosen.model, train, folder, Moments())
        if why:
            print(f"articles: {name} broke off: {why}")
            continue
        made = sample(load_generator(kept[-1].folder), place.size(2000, 64), seed=1)
        write_png(place.below("articles") / f"{name}.png", grid(made[:64]))
        grey = made.mean(axis=3, keepdims=True).round().astype(np.uint8)
        found = probabilities(classifier, grey)
        held = np.bincount(found.argmax(axis=1), minlength=10) / len(found)
        figures += [
            Figure(
                f"{name}: samples with a class at {SURE}",
                float((found.max(axis=1) > SURE).mean()),
                "",
                SHARE,
            ),
            Figure(
                f"{name}: classes with {HELD:.0%} of samples",
                int((held >= HELD).sum()),
                "",
                CLASSES,
            ),
            Figure(f"{name}: minutes of training", kept[-1].minutes, "min"),
        ]
    return figures


def _coloured(place: Place) -> Dataset:
    """Fashion-MNIST in three equal channels."""
    folder = place.folder / "fashion-mnist-rgb"
    grey = place.fashion()
    if not folder.exists():
        with replacing_folder(folder) as beside:
            pixels = np.repeat(grey.batch(np.arange(len(grey))), 3, axis=3)
            np.save(beside / "images-00000.npy", pixels)
            described = {"height": 28, "width": 28, "channels": 3, "count": len(grey)}
            write_json(beside / "dataset.json", {**described, "classes": [], "sha256": grey.sha256})
    return Dataset(folder)
