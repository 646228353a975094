"""Modes found of 25 Gaussians in the plane: the cells of R3GAN's table 1, and lazy penalties."""

from __future__ import annotations

from time import perf_counter

from ganpipe.compute import settle
from tests.benchmarks.figures import Figure
from tests.benchmarks.training.place import Place
from tests.benchmarks.training.points import CENTRES, TRAIN, count_modes, train_on_points

WEIGHT = TRAIN.r1
CELLS: dict[str, dict[str, object]] = {
    "rpgan, R1 + R2": {},
    "ns, R1 + R2": {"loss": "ns"},
    "rpgan, R1": {"r1": 2 * WEIGHT, "r2": 0.0},
    "ns, R1": {"loss": "ns", "r1": 2 * WEIGHT, "r2": 0.0},
    "rpgan, R1 + R2 every 8th step": {"penalty_every": 8},
    "ns, R1 + R2 every 8th step": {"loss": "ns", "penalty_every": 8},
}
PROMISED = "rpgan, R1 + R2"


def measure(place: Place) -> list[Figure]:
    """R1 alone weighs as much as R1 and R2 together elsewhere."""
    settle(1)
    figures = []
    for cell, changes in CELLS.items():
        train = TRAIN.model_copy(update=changes)
        if place.quick:
            train = train.model_copy(update={"kimg": 10.0})
        began = perf_counter()
        modes = count_modes(train_on_points(train))
        print(f"gaussians: {cell}: {modes.found} modes", flush=True)
        floor = len(CENTRES) if cell == PROMISED else None
        figures += [
            Figure(f"{cell}: modes found", modes.found, f"of {len(CENTRES)}", floor),
            Figure(f"{cell}: within 3 deviations", 100 * modes.quality, "%"),
            Figure(f"{cell}: rarest mode v its due", modes.smallest, "x"),
            Figure(f"{cell}: training", perf_counter() - began, "s"),
        ]
    return figures
