"""Sets of images against the champion's reference, one finding after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe import randomness
from ganpipe.drift import served, shares
from ganpipe.drift.champion import Champion
from ganpipe.drift.distance import distance
from ganpipe.drift.finding import Finding, Share
from ganpipe.drift.incoming import Incoming
from ganpipe.evaluation.extractors import Extractor
from ganpipe.evaluation.features import Features, some
from ganpipe.evaluation.reference import JUDGE, USEFULNESS
from ganpipe.evaluation.results import KID
from ganpipe.evaluation.usefulness import read_judge
from ganpipe.params.watch import WatchParams

SHOWN = 16
BLOCK = 256
INCOMING, REFERENCE, SERVED, SHARES = "incoming", "reference", "served", "shares"


class Comparing:
    """What was found so far; `left_out` tells what could not be, and why."""

    def __init__(self, champion: Champion, params: WatchParams) -> None:
        self.champion, self.params = champion, params
        self.findings: list[Finding] = []
        self.left_out: dict[str, str] = {}
        self.shares: tuple[Share, ...] = ()
        self.by_classifier = False
        self.pictures: dict[str, NDArray[np.uint8]] = {}

    @cached_property
    def extractor(self) -> Extractor:
        return self.champion.extractor()

    @cached_property
    def real(self) -> Features:
        """Of real images that the champion learnt from: float32 [<= most, d]."""
        features = self.champion.reference.features
        return some(features, self.params.most, self.params.seed, "drift/reference")

    def too_few(self, count: int) -> None:
        """Say that nothing is decided of the images that came in."""
        self.left_out[INCOMING] = (
            f"{count:,} images that were not counted before, and at least {self.params.least:,} "
            "(watch.least) are needed to tell: they count with the next ones"
        )

    def incoming(self, came: Incoming) -> None:
        """Kernel distance and class shares of images that came in."""
        self._show(INCOMING, came.images)
        found = distance(self.real, self._features(came.images), self.params.seed)
        self.findings.append(
            Finding(
                self._measure(INCOMING),
                found.value,
                found.low,
                found.high,
                found.chance,
                self.params.distance * found.spread,
                len(came.images),
            )
        )
        counts = self._counts(came)
        if isinstance(counts, str):
            self.left_out[SHARES] = counts
            return
        value, chance, self.shares = shares.compared(*counts, self.params.seed)
        images = len(came.images)
        told = f"{SHARES} of {INCOMING} images"
        self.findings.append(Finding(told, value, value, value, chance, self.params.shares, images))

    def served(self, folder: Path) -> None:
        """Kernel distance of served samples, against the one that the champion was measured by."""
        own = self.champion.own
        path = served.path_of(folder, self.champion.generator_sha256)
        if own is None:
            self.left_out[SERVED] = f"no {KID} of {self.champion.name} was measured"
            return
        if not path.is_file():
            self.left_out[SERVED] = f"no service has kept samples of it: {path} is not there"
            return
        images = np.unique(served.read(path), axis=0)  # a seed that is asked for again
        if len(images) < self.params.least:
            self.left_out[SERVED] = (
                f"{len(images):,} samples, at least {self.params.least:,} (watch.least) are needed"
            )
            return
        numbers = randomness.permutation(self.params.seed, "drift/served", 0, len(images))
        images = images[numbers[: self.params.most]]
        self._show(SERVED, images)
        found = distance(self.real, self._features(images), self.params.seed)
        high = own["value"] if own.get("high") is None else own["high"]
        self.findings.append(
            Finding(
                self._measure(SERVED),
                found.value,
                found.low,
                found.high,
                float(high),
                float(own["value"]) + self.params.distance * found.spread,
                len(images),
            )
        )

    def _measure(self, of: str) -> str:
        return f"{KID}_{self.extractor.name} of {of} images"

    def _features(self, images: NDArray[np.uint8]) -> Features:
        starts = range(0, len(images), BLOCK)
        return np.concatenate([self.extractor(images[start : start + BLOCK]) for start in starts])

    def _counts(self, came: Incoming) -> tuple[Mapping[str, int], Mapping[str, int]] | str:
        """Images by class, expected and found, or why they are not known."""
        if not self.champion.class_counts:
            return "the champion's images have no classes"
        if came.labels:
            return self.champion.class_counts, Counter(came.labels)
        if why := self.champion.reference.left_out.get(USEFULNESS):
            return f"the images do not say their class, and there is no classifier: {why}"
        judge = read_judge(self.champion.reference.folder / JUDGE).classifier
        self.by_classifier = True
        # what it makes of real images it never saw, errors and all
        test = self.champion.test
        numbers = randomness.permutation(self.params.seed, "drift/test", 0, len(test))
        unseen = test.batch(np.sort(numbers[: self.params.most]))
        sides = (judge.logits(images).argmax(axis=1) for images in (unseen, came.images))
        expected, found = (Counter(judge.classes[k] for k in side.tolist()) for side in sides)
        return expected, found

    def _show(self, name: str, images: NDArray[np.uint8]) -> None:
        test = self.champion.test
        for each, source, count in (
            (name, images.__getitem__, len(images)),
            (REFERENCE, test.batch, len(test)),
        ):
            numbers = randomness.permutation(self.params.seed, "drift/shown", 0, count)
            self.pictures[each] = source(numbers[:SHOWN])
