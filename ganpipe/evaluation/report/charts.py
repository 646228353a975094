"""Curves as inline SVG: paths in a stretched box, with words and ticks left to the page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 1000.0, 400.0  # of the SVG's own coordinates
MOST_POINTS = 400  # of a line; of more, the extremes in each stretch are kept
LOGARITHMIC = 50.0  # values that span more than this factor get a log axis
# title, note, a value that deserves a line, columns of curves.csv
Columns = tuple[str, str, float | None, tuple[str, ...]]
COLUMNS: tuple[Columns, ...] = (
    (
        "Quick FID",
        "of the snapshots, by which the model is chosen; lower is better",
        None,
        ("fid_quick",),
    ),
    (
        "Losses",
        "they need not fall: each depends on the other network",
        None,
        ("loss_generator", "loss_discriminator"),
    ),
    ("Critic scores", "means of real and generated images", None, ("score_real", "score_fake")),
    (
        "Rank",
        "share of real-fake pairs that the discriminator ranks rightly; 0.5 is a draw",
        0.5,
        ("rank",),
    ),
    ("Spread", "how much samples differ, as a share of what real images do", 1.0, ("spread",)),
    ("Penalties", "squared gradient norms: r1 real, r2 generated", None, ("r1", "r2", "gp")),
    (
        "Gradients",
        "norms of both networks' gradients",
        None,
        ("gradient_generator", "gradient_discriminator"),
    ),
    ("Augmentation", "chance that each augmentation is applied", None, ("augment",)),
)
NAMES = {
    "fid_quick": "quick FID",
    "loss_generator": "generator",
    "loss_discriminator": "discriminator",
    "score_real": "real",
    "score_fake": "generated",
    "gradient_generator": "generator",
    "gradient_discriminator": "discriminator",
}

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line (or cloud) of a chart; points with a value that is not finite break it."""

    name: str
    points: Sequence[Point]
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over a common axis."""

    title: str
    series: Sequence[Series]
    x_label: str = "thousand images"
    note: str = ""
    mark: float | None = None
    """A value that deserves a line across."""
    ends: bool = True
    """Whether the last value of each line is written beside its name."""


@dataclass(frozen=True)
class Tick:
    place: float
    """Per cent from the left or from below."""
    text: str


@dataclass(frozen=True)
class Drawing:
    """A chart in the SVG's coordinates."""

    chart: Chart
    paths: list[str]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    mark: float | None
    logarithmic: bool
    last: list[str]
    """The last value of each series, empty where it is not wanted."""


def curves(table: str) -> list[Chart]:
    """The charts of model/curves.csv, given as text; empty ones are left out."""
    rows = list(csv.DictReader(io.StringIO(table)))
    charts = []
    for title, note, mark, columns in COLUMNS:
        series = [
            Series(NAMES.get(column, column), _points(rows, column))
            for column in columns
            if any(y for _, y in _points(rows, column))
        ]
        if series:
            charts.append(Chart(title, series, note=note, mark=mark))
    return charts


def _points(rows: list[dict[str, str]], column: str) -> list[Point]:
    return [(float(row["kimg"]), float(row[column])) for row in rows if row.get(column)]


def draw(chart: Chart) -> Drawing | None:
    """Place a chart in its box; None where no value is finite."""
    finite = [p for each in chart.series for p in each.points if all(map(math.isfinite, p))]
    if not finite:
        return None
    ys = [y for _, y in finite] + ([chart.mark] if chart.mark is not None else [])
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > LOGARITHMIC
    scale = math.log10 if logarithmic else float
    left, right = _range([x for x, _ in finite], 0.0)
    bottom, top = _range([scale(y) for y in ys], 0.06)

    def across(x: float) -> float:
        return (x - left) / (right - left)

    def up(y: float) -> float:
        return (scale(y) - bottom) / (top - bottom)

    paths = []
    for each in chart.series:
        points = each.points if each.dots else thinned(each.points)
        paths.append(_path(points, across, up, dots=each.dots))
    marks = _decades(bottom, top) if logarithmic else nice_ticks(bottom, top)
    return Drawing(
        chart,
        paths,
        [Tick(100 * across(x), _label(x)) for x in nice_ticks(left, right)],
        [Tick(100 * up(y), _label(y)) for y in marks],
        None if chart.mark is None else HEIGHT * (1 - up(chart.mark)),
        logarithmic,
        [
            _label(each.points[-1][1], 4) if each.points and chart.ends else ""
            for each in chart.series
        ],
    )


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most MOST_POINTS of a line's points: the lowest and the highest of each stretch."""
    if len(points) <= MOST_POINTS:
        return points
    stretches = MOST_POINTS // 2 - 1
    kept = {0, len(points) - 1}
    for stretch in range(stretches):
        first, stop = (len(points) * (stretch + more) // stretches for more in (0, 1))
        numbers = range(first, stop)
        kept |= {min(numbers, key=lambda n: points[n][1]), max(numbers, key=lambda n: points[n][1])}
    return [points[number] for number in sorted(kept)]


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) between two values."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(bottom: float, top: float) -> list[float]:
    """Ticks of a log axis from 10^bottom to 10^top."""
    factors = (1.0,) if top - bottom > 2 else (1.0, 3.0)
    powers = range(math.floor(bottom), math.ceil(top) + 1)
    step = max(1, math.ceil((top - bottom) / 5))
    values = [factor * 10.0**power for power in powers if power % step == 0 for factor in factors]
    return [value for value in values if bottom <= math.log10(value) <= top]


def _range(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * margin or (0.0 if high > low else max(abs(high), 1.0) * 0.1)
    return low - room, high + room


def _path(
    points: Sequence[Point],
    across: Callable[[float], float],
    up: Callable[[float], float],
    *,
    dots: bool,
) -> str:
    pieces, pen_down = [], False
    for x, y in points:
        if not (math.isfinite(x) and math.isfinite(y)):
            pen_down = False
            continue
        place = f"{WIDTH * across(x):.1f} {HEIGHT * (1 - up(y)):.1f}"
        # a line of no length with round ends is a dot
        pieces.append(f"M{place}h0" if dots else f"{'L' if pen_down else 'M'}{place}")
        pen_down = True
    return "".join(pieces) + ("h0" if len(points) == 1 and not dots else "")


def _label(value: float, digits: int = 3) -> str:
    if not math.isfinite(value):
        return "not finite"
    written = f"{value:.{digits}g}" if abs(value) < 1e4 or abs(value) >= 1e6 else f"{value:,.0f}"
    return written.replace("-", "\N{MINUS SIGN}")
