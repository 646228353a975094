"""A small network trained on the data set's own classes; its distance is `fcd`, never FID."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.classifier import FEATURES, load_classifier
from ganpipe.evaluation.extractors.batches import check_images


class ClassifierExtractor:
    """Features float32 [n, 128]: the last hidden layer of the classifier in a folder.

    Distances between its features are comparable for one data set and one classifier only, and
    blind to what does not tell classes apart. Raises GanpipeError for damaged files, and when
    called with images of another shape than it was trained on.
    """

    name = "classifier"
    version = 1
    features = FEATURES

    def __init__(self, folder: Path) -> None:
        self.classifier, self.weights_sha256 = load_classifier(folder)
        shape = (self.classifier.height, self.classifier.width, self.classifier.channels)
        self.resize = "none: images must be {}x{}x{}, x / 127.5 - 1".format(*shape)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        check_images(images, self.name)
        return self.classifier.features(images)
