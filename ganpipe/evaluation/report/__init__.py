"""report/: what was measured and seen of a generator, for people: a page, a summary, plots."""

from __future__ import annotations

from pathlib import Path

from ganpipe.evaluation.report.content import (
    ClassRow,
    Extremes,
    Measure,
    Memorisation,
    Neighbours,
    Report,
    Sweep,
)
from ganpipe.evaluation.report.markdown import markdown
from ganpipe.evaluation.report.page import html
from ganpipe.evaluation.report.plots import write_plots
from ganpipe.files import replacing

__all__ = [
    "PAGE",
    "PLOTS",
    "SUMMARY",
    "ClassRow",
    "Extremes",
    "Measure",
    "Memorisation",
    "Neighbours",
    "Report",
    "Sweep",
    "write_report",
]

PAGE, SUMMARY, PLOTS = "index.html", "summary.md", "plots"


def write_report(report: Report, folder: Path) -> None:
    """Write index.html, summary.md and plots/ into a folder.

    The page is one file that needs nothing else and stays below page.PAGE_BYTES. The same report
    gives the same bytes.
    """
    for name, text in ((PAGE, html(report)), (SUMMARY, markdown(report))):
        with replacing(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
    plots = folder / PLOTS
    plots.mkdir(exist_ok=True)
    write_plots(report, plots)
