"""index.html: everything that was measured and seen of a generator, in one file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import Extrapolation
from ganpipe.evaluation.report import numbers, parts
from ganpipe.evaluation.report.charts import Chart, Drawing, Series, draw
from ganpipe.evaluation.report.content import Decision, Measure, Report
from ganpipe.evaluation.report.pictures import film

if TYPE_CHECKING:
    from jinja2 import Environment

PARTS = ("headline", "measures")  # templates of what a champion changes
DECISIONS = "<!-- decisions -->"
PAGE_BYTES = 3_000_000  # the page stays below, whatever the size of the images


@dataclass(frozen=True)
class Place:
    """A mark on the headline's scale, in per cent from the left."""

    name: str
    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """Floor, champion and value side by side, from nought to a little over the largest."""

    places: list[Place]
    band: tuple[float, float] | None
    """Left end and width of the interval, in per cent."""


def html(report: Report) -> str:
    """The page as HTML that asks for nothing from outside and runs nothing."""
    grids = {
        "samples": parts.grid(report.samples, "samples", "generated image"),
        "reals": parts.grid(report.reals, "reals", "real image"),
        "interpolations": parts.rows(report.interpolations, "interpolations", "between latents"),
    }
    classes, truncation = parts.classes(report.classes), parts.sweep(report.truncation)
    near, ends = parts.neighbours(report.neighbours), parts.extremes(report.extremes)
    shown_tiles = [each for each in grids.values() if each is not None]
    shown_tiles += [row for _, row in truncation or []] + [row for _, row in ends or []]
    for each in classes or []:
        shown_tiles += [side for side in (each.generated, each.real) if side is not None]
    for strip in near or []:
        shown_tiles += [strip.generated, *(row for _, row in strip.rows)]
    pictures = [each.pictures for each in shown_tiles]
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            left_out=left_out(report),
            reduced=any(each.reduced or not each.lossless for each in pictures),
            most_classes=parts.MOST_CLASSES,
            classes=classes,
            truncation=truncation,
            neighbours=near,
            extremes=ends,
            film=film(report.film, parts.BUDGET["film"])
            if isinstance(report.film, bytes)
            else None,
            drawings=_drawings(report),
            memorisation=None if isinstance(report.memorisation, str) else report.memorisation,
            **grids,
            **_numbers(report.measures, report.champion),
        )
    )


def with_champion(page: str, measures: Sequence[Measure], champion: str) -> str:
    """The page with its numbers beside a champion's: who that is, is known only afterwards."""
    values = _numbers(measures, champion)
    for name in PARTS:
        page = _with_part(page, name, values)
    return page


def with_decisions(page: str, decisions: Sequence[Decision]) -> str:
    """The page with what was decided of its version, which is known only afterwards."""
    return _with_part(page, "decisions", {"decisions": decisions})


def _with_part(page: str, name: str, values: dict[str, Any]) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise GanpipeError(f"the page has no {begin}: it was made by another ganpipe")
    part = _environment().get_template(f"{name}.html").render(values)
    return f"{before}{begin}\n{part}\n{end}{after}"


def _numbers(measures: Sequence[Measure], champion: str) -> dict[str, Any]:
    """What the headline and the table of measures are made of."""
    first = measures[0] if measures else None
    return {
        "measures": measures,
        "champion": champion,
        "first": first,
        "headline": numbers.headline(first, champion) if first else "",
        "scale": scale(first) if first else None,
        "has_champion": any(each.champion is not None for each in measures),
        "has_protocol": any(each.protocol for each in measures),
    }


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": numbers.number,
        "interval": numbers.interval,
        "difference": numbers.difference,
        "shown": shown,
    }
    return environment


def left_out(report: Report) -> list[tuple[str, str]]:
    """The parts that there is nothing to show of, each with the reason."""
    known: dict[str, object] = {
        "Samples": report.samples,
        "Real images": report.reals,
        "Classes": report.classes,
        "Interpolations": report.interpolations,
        "Truncation": report.truncation,
        "Memorisation": report.memorisation,
        "Nearest training images": report.neighbours,
        "Nearest to and farthest from the real images": report.extremes,
        "Training film": report.film,
        "Curves": report.curves,
        "Extrapolation to infinitely many images": report.extrapolation,
    }
    return [(title, part) for title, part in known.items() if isinstance(part, str)]


def _drawings(report: Report) -> list[Drawing]:
    charts = [] if isinstance(report.curves, str) else list(report.curves)
    if isinstance(fit := report.extrapolation, Extrapolation):
        charts.append(_extrapolation(fit))
    return [drawing for chart in charts if (drawing := draw(chart)) is not None]


def _extrapolation(fit: Extrapolation) -> Chart:
    thousandth = [1000.0 / each for each in fit.counts]
    measured = sorted(zip(thousandth, fit.distances, strict=True))
    line = [(x, fit.value + fit.slope * x / 1000) for x in (0.0, max(thousandth))]
    return Chart(
        "Extrapolation to infinitely many images",
        [Series("fit", line), Series("measured", measured, dots=True)],
        x_label="1000 / number of images",
        note=f"distances of growing sets; the line meets the left side at "
        f"{numbers.number(fit.value)}",
        ends=False,
    )


def scale(measure: Measure) -> Scale | None:
    """The headline's scale; None where there is nothing to put beside the value, or below 0."""
    named = {"floor": measure.floor, "champion": measure.champion, "this": measure.value}
    known = {name: value for name, value in named.items() if value is not None}
    ends = [value for value in (measure.low, measure.high) if value is not None]
    everything = [*known.values(), *ends]
    if len(known) < 2 or not all(map(math.isfinite, everything)):
        return None
    top = 1.08 * max(everything)
    if min(known.values()) < 0 or top <= 0:
        return None
    places = [Place(name, 100 * at / top, numbers.number(at)) for name, at in known.items()]
    if len(ends) < 2:
        return Scale(places, None)
    low, high = max(0.0, ends[0]), ends[1]
    return Scale(places, (100 * low / top, 100 * (high - low) / top))
