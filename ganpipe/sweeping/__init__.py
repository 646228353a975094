"""Several trainings with different parameters: what each tries, what came of it, the best."""

from ganpipe.sweeping.points import Point, applied, point
from ganpipe.sweeping.record import Sweep, Trial, opened
from ganpipe.sweeping.told import csv, markdown, spelt

__all__ = [
    "Point",
    "Sweep",
    "Trial",
    "applied",
    "csv",
    "markdown",
    "opened",
    "point",
    "spelt",
]
