"""What a report tells: plain values and uint8 images, filled in by the stage that measured them.

Where a part can be `str`, there is nothing to show, and the string says why in one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.distances import Extrapolation
from ganpipe.evaluation.report.charts import Chart

Images = NDArray[np.uint8]
"""uint8 [n, H, W, C] with C = 1 or 3."""
Numbers = NDArray[np.float64] | NDArray[np.float32]

NOT_MADE = "was not made in this evaluation"


@dataclass(frozen=True)
class Measure:
    """One number with what is needed to judge it."""

    name: str
    """As in metrics.json, like `fid_lite0_10k`."""
    value: float
    better: Literal["lower", "higher", "neither"]
    means: str = ""
    """What it tells, in a few words."""
    low: float | None = None
    """The interval's lower end, None without an interval."""
    high: float | None = None
    floor: float | None = None
    """The same measure of real images against other real ones."""
    champion: float | None = None
    """The champion's value by the same protocol, None where there is none to compare with."""
    champion_low: float | None = None
    champion_high: float | None = None
    """The champion's own interval."""
    protocol: str = ""
    """Like `Lite0, 10,000 + 10,000 images`."""
    note: str = ""
    """Why the number should be read with care."""


@dataclass(frozen=True)
class Memorisation:
    """Whether the generator repeats training images."""

    verdict: str
    """In words: one sentence, or all there is to say."""
    finding: Literal["copies", "suspicious", "nothing found", "too few images"]
    evidence: Sequence[str] = ()
    limits: Sequence[str] = ()
    """What the evidence cannot show."""


@dataclass(frozen=True)
class ClassRow:
    """One class: generated images of it, real ones, and its own measures."""

    name: str
    generated: Images
    """None of the classes beyond those that are pictured: uint8 [0, H, W, C]."""
    real: Images | None = None
    distance: float | None = None
    floor: float | None = None
    coverage: float | None = None
    """Share of the class's real images that have a generated one nearby, 0 to 1."""


@dataclass(frozen=True)
class Sweep:
    """The same latents at several truncations."""

    levels: Sequence[float]
    images: Images
    """uint8 [levels, n, H, W, C]."""


@dataclass(frozen=True)
class Neighbours:
    """Generated images beside the training images nearest to them."""

    generated: Images
    by_feature: Images
    """uint8 [n, k, H, W, C], nearest first."""
    feature_distances: Numbers
    """[n, k]."""
    by_pixel: Images | None = None
    pixel_distances: Numbers | None = None
    numbers: Sequence[int] = ()
    """Which samples these are; empty for 0 to n - 1."""
    suspects: Sequence[bool] = ()
    """Which of them are closer to a training image than held-out images ever are."""


@dataclass(frozen=True)
class Extremes:
    """Samples nearest to and farthest from the real images."""

    nearest: Images
    nearest_distances: Numbers
    farthest: Images
    farthest_distances: Numbers
    means: str = "distance in feature space to the nearest real image"


@dataclass(frozen=True)
class Report:
    """Everything that report/index.html shows. The first measure is the headline."""

    title: str
    measures: Sequence[Measure]
    protocol: dict[str, object]
    champion: str = ""
    """Like `version 3`; empty where there is none."""
    warnings: Sequence[str] = ()
    lineage: dict[str, str] = field(default_factory=dict)
    """Version, run, data digest, as far as they are known."""
    samples: Images | str = NOT_MADE
    reals: Images | str = NOT_MADE
    classes: Sequence[ClassRow] | str = NOT_MADE
    interpolations: Images | str = NOT_MADE
    """uint8 [rows, steps, H, W, C]."""
    truncation: Sweep | str = NOT_MADE
    memorisation: Memorisation | str = NOT_MADE
    neighbours: Neighbours | str = NOT_MADE
    extremes: Extremes | str = NOT_MADE
    film: bytes | str = "training left no film"
    """An animated picture (WebP or GIF), such as model/film.webp."""
    curves: Sequence[Chart] | str = "training left no curves"
    extrapolation: Extrapolation | str = NOT_MADE


@dataclass(frozen=True)
class Decision:
    """What was decided of the version that a report became."""

    what: str
    """Such as `promoted, was 3`."""
    at: str
    by: str
    reason: str
    rules: list[tuple[str, bool, str]]
    """Each rule of the gate, whether it passed, and what was found."""
