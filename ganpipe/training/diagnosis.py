"""Whether a run is worth going on with: pure functions of its curves.

A sick run ends with what happened, since when, and what to try; it is never tried again by itself.
The thresholds are far from what healthy runs show (numbers beside each), because a healthy run
that is stopped costs more than a sick one that goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ganpipe.params import TrainParams
from ganpipe.training.history import SPREAD, Line

# Samples collapsed for good where they differ by less than this share of what real images do.
# Measured: 0.03 to 0.6 three kimg into healthy runs, 0.6 to 1.4 later on (also on 20 images);
# 0.000 in collapsed ones.
COLLAPSED_SPREAD = 0.02
COLLAPSED_SNAPSHOTS = 2
# The discriminator has won where it ranks this share of real-fake pairs rightly, all the time.
# Measured: up to 0.996 for some kimg in young healthy runs, 0.5 to 0.9 later on (0.9 on 20
# images); 1.000 where the generator is lost.
WON_RANK = 0.999
WON_POINTS = 5
# Until then a young or slow run is given time: large batches show many images in few steps.
PATIENCE_KIMG, PATIENCE_STEPS = 40.0, 1000
# Without gradients nothing can get better. Measured: 0.04 and more in any run that learns.
VANISHED_GRADIENT = 1e-6
VANISHED_POINTS = 3


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a run."""

    what: str
    since: int
    """Images shown at the first sign of it: states from before are good."""
    advice: str


def not_finite(images: int, curves: dict[str, float], params: TrainParams) -> Trouble | None:
    """A curve that is NaN or infinite; the weights are too, or will be at the next step."""
    wrong = [f"{name}={value}" for name, value in curves.items() if not math.isfinite(value)]
    return diverged(images, f"{', '.join(wrong)} is", params) if wrong else None


def diverged(images: int, what: str, params: TrainParams) -> Trouble:
    """Training that left the finite numbers."""
    advice = [f"a lower train.lr (now {params.lr:g})", _stronger_penalty(params)]
    if params.precision != "float32":
        advice.append(f"train.precision=float32 (now {params.precision})")
    return Trouble(f"training diverged: {what} not finite", images, _listed(advice))


def trouble(lines: list[Line], params: TrainParams) -> Trouble | None:
    """What is wrong with a run that has come to these lines of its history, if anything."""
    return _collapsed(lines, params) or _won(lines, params)


def _collapsed(lines: list[Line], params: TrainParams) -> Trouble | None:
    """Samples that are all alike, in snapshots one after the other."""
    snapshots = [line for line in lines if SPREAD in line]
    last = snapshots[-COLLAPSED_SNAPSHOTS:]
    if len(last) < COLLAPSED_SNAPSHOTS or any(each[SPREAD] >= COLLAPSED_SPREAD for each in last):
        return None
    alive = any(each[SPREAD] >= COLLAPSED_SPREAD for each in snapshots)
    if not alive and not _long(lines[0], last[-1], params):
        return None  # it may not have begun to learn
    spread = 100.0 * last[-1][SPREAD]
    what = (
        f"the samples collapsed: they differ from each other by {spread:.2g} % of what real "
        f"images do, in {COLLAPSED_SNAPSHOTS} snapshots in a row"
    )
    advice = [_stronger_penalty(params), f"a lower train.lr (now {params.lr:g})"]
    if params.loss != "rpgan":
        advice.append(f"train.loss=rpgan (now {params.loss})")
    return Trouble(what, last[0]["images"], _listed(advice))


def _won(lines: list[Line], params: TrainParams) -> Trouble | None:
    """A discriminator that tells every real image from every generated one."""
    streak: list[Line] = []
    for line in reversed([line for line in lines if "rank" in line]):
        if line["rank"] < WON_RANK:
            break
        streak.insert(0, line)
    vanished = len(streak) >= VANISHED_POINTS and all(
        line["gradient_generator"] < VANISHED_GRADIENT for line in streak[-VANISHED_POINTS:]
    )
    sustained = len(streak) >= WON_POINTS and _long(streak[0], streak[-1], params)
    if not vanished and not sustained:
        return None
    what = (
        f"the discriminator has won: for {_kimg(streak[0], streak[-1]):g} kimg it scored real "
        f"images above generated ones in {100.0 * streak[-1]['rank']:.4g} % of all pairs"
    )
    if vanished:
        what += ", and the generator's gradients are 0"
    advice = [_stronger_penalty(params), f"a lower train.lr (now {params.lr:g})"]
    if params.augment == "none":
        advice.append("where images are few, train.augment=ada (now none)")
    return Trouble(what, streak[0]["images"], _listed(advice))


def _long(first: Line, last: Line, params: TrainParams) -> bool:
    """Whether enough was learnt between two lines to judge a run."""
    kimg = _kimg(first, last)
    return kimg >= PATIENCE_KIMG and kimg * 1000.0 >= PATIENCE_STEPS * params.batch


def _stronger_penalty(params: TrainParams) -> str:
    if params.gp > 0.0:
        return f"a higher train.gp (now {params.gp:g})"
    return f"higher train.r1 and train.r2 (now {params.r1:g} and {params.r2:g})"


def _kimg(first: Line, last: Line) -> float:
    return float(last["kimg"] - first["kimg"])


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + f", or {parts[-1]}" if len(parts) > 1 else parts[0]
