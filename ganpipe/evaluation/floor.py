"""The floor of a score: as many other real images as there are samples, in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganpipe.evaluation.comparison import Comparison, Real, compare
from ganpipe.evaluation.extractors import Extractor
from ganpipe.evaluation.sides import STATISTICS, Side, of_images, subset


def real_floor(
    real: Real, theirs: Side, unseen: Side | None, count: int, extractor: Extractor, file: Path
) -> Comparison | str:
    """Compare `count` real images that `real` does not hold with it, or say why that cannot be.

    They are those of the set `theirs` that were not compared, then `unseen` ones. Features of the
    former are kept in `file`.
    """
    images, seed = theirs.images, real.seed
    if images is None:
        return STATISTICS
    rest = np.setdiff1d(np.arange(images.count), theirs.chosen)
    spare = 0 if unseen is None else len(unseen.chosen)
    if len(rest) + spare < count:
        fit = min(count, (images.count + spare) // 2)
        return (
            f"needs {count:,} real images beside those compared, there are {len(rest) + spare:,}: "
            f"bring more with --unseen, or set --samples {fit}"
        )
    drawn = rest[subset(seed, "floor", len(rest), count)]
    features, labels = [], []
    if len(drawn):
        others = of_images(images, drawn, extractor, file, "score")
        features, labels = [others.features], [others.labels(theirs.classes)]
    if unseen is not None and unseen.features is not None and len(drawn) < count:
        places = subset(seed, "floor/unseen", spare, count - len(drawn))
        features.append(np.asarray(unseen.features[places]))
        same = set(unseen.classes) == set(theirs.classes)
        own = unseen.labels(theirs.classes) if same else None
        labels.append(None if own is None else own[places])
    known = [each for each in labels if each is not None]
    whole = [each for each in features if each is not None]
    return compare(
        real,
        whole[0] if len(whole) == 1 else np.concatenate(whole),
        np.concatenate(known) if len(known) == len(labels) else None,
        stage="score",
        sure=False,
    )
