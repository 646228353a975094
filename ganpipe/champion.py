"""A report beside the champion's numbers: who that is, is known only when a run has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganpipe.evaluation.report import PAGE, SUMMARY, Measure, Memorisation, Report
from ganpipe.evaluation.report.markdown import markdown
from ganpipe.evaluation.report.page import with_champion
from ganpipe.evaluation.results import EVALUATION
from ganpipe.files import read_json
from ganpipe.registry import CHAMPION, aliases, evaluation_of
from ganpipe.tracking import connect


def beside_champion(uri: str, name: str, report: Path, folder: Path) -> str:
    """Write the page and the summary of `report` anew into `folder`, with the champion's numbers.

    Returns who the champion is, or nothing where there is none, or no page, or when it was never
    measured by the protocol of `report`: numbers of different protocols are never compared.
    """
    if not (report / PAGE).is_file():  # a pipeline of the user's own
        return ""
    client = connect(uri)
    version = aliases(client, name).get(CHAMPION)
    if version is None:
        return ""
    evaluation = read_json(report / EVALUATION)
    found = client.get_model_version(name, version)
    theirs = evaluation_of(uri, found, evaluation["protocol"])
    if theirs is None:
        return ""
    who = f"version {version}"
    known = {row["name"]: row for row in theirs.measures}
    measures = [beside(row, known.get(row["name"], {})) for row in evaluation["measures"]]
    page = (report / PAGE).read_text(encoding="utf-8")
    (folder / PAGE).write_text(with_champion(page, measures, who), encoding="utf-8")
    verdict = evaluation["memorisation"]
    told = Report(
        title=evaluation["title"],
        measures=measures,
        protocol=evaluation["protocol"],
        champion=who,
        warnings=evaluation["warnings"],
        lineage=evaluation["lineage"],
        memorisation=verdict
        if isinstance(verdict, str)
        else Memorisation(verdict["opening"], verdict["finding"], verdict["evidence"]),
    )
    (folder / SUMMARY).write_text(markdown(told), encoding="utf-8")
    return who


def beside(row: Mapping[str, Any], champion: Mapping[str, Any]) -> Measure:
    """A row of an evaluation.json with the numbers of the champion's row of that name."""
    return replace(
        Measure(**row),
        champion=champion.get("value"),
        champion_low=champion.get("low"),
        champion_high=champion.get("high"),
    )
