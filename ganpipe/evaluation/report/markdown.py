"""summary.md: the report in short, for a run's page in Prefect, for MLflow and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ganpipe.data.words import code_span, shown, table_cell
from ganpipe.evaluation.report.content import Measure, Memorisation, Report
from ganpipe.evaluation.report.numbers import NOTHING, difference, headline, interval, number

HEAD = ("measure", "value", "interval", "floor", "champion", "difference")


def markdown(report: Report) -> str:
    """The headline, warnings, the table of measures, the verdict and the protocol as Markdown.

    Pictures are left to the reader, who knows where they can be loaded from.
    """
    parts = [f"# {_line(report.title)}\n", _headline(report)]
    if report.warnings:
        parts.append(
            "\n".join(f"> **Warning:** {_line(each)}\n>" for each in report.warnings) + "\n"
        )
    if report.measures:
        parts.append(_table(report.measures))
    if isinstance(report.memorisation, Memorisation):
        parts.append(f"**Memorisation:** {_line(report.memorisation.verdict)}\n")
        if evidence := [f"- {_line(each)}\n" for each in report.memorisation.evidence]:
            parts.append("".join(evidence))
    parts.append(_facts("Protocol", report.protocol))
    parts.append(_facts("Lineage", dict(report.lineage)))
    parts.append("Pictures, curves and evidence: `report/index.html`.\n")
    return "\n".join(filter(None, parts))


def _headline(report: Report) -> str:
    if not report.measures:
        return "Nothing was measured.\n"
    first = report.measures[0]
    floor = f", floor {number(first.floor)}" if first.floor is not None else ""
    spread = interval(first)
    within = f" ({spread}{floor})" if spread != NOTHING else floor
    what = headline(first, report.champion)
    return f"**{code_span(first.name)} {number(first.value)}**{within}. {_line(what)}\n"


def _table(measures: Sequence[Measure]) -> str:
    lines = [HEAD, tuple("---" for _ in HEAD), *map(_row, measures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _row(measure: Measure) -> tuple[str, ...]:
    found = difference(measure)
    return (
        table_cell(measure.name),
        number(measure.value),
        interval(measure),
        number(measure.floor),
        number(measure.champion),
        f"{found.mark} {found.words} {found.amount}" if found else NOTHING,
    )


def _facts(title: str, facts: dict[str, object]) -> str:
    """One line of names and values."""
    pairs = [f"{shown(name, 40)} {code_span(str(value), 80)}" for name, value in facts.items()]
    return f"{title}: {', '.join(pairs)}.\n" if pairs else ""


def _line(text: str) -> str:
    """Our own words in one line; characters that would begin something in Markdown are escaped."""
    line = shown(text, 2000)
    return "".join(f"\\{char}" if char in "\\`*_<>[]|#!&" else char for char in line)
