"""A report beside the champion's numbers: who that is, is known only when a run has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe.evaluation.report import PAGE, SUMMARY, Measure, Memorisation, Report
from ganpipe.evaluation.report.markdown import markdown
from ganpipe.evaluation.report.page import with_champion
from ganpipe.evaluation.results import EVALUATION
from ganpipe.files import read_json
from ganpipe.registry import CHAMPION, aliases
from ganpipe.registry.headline import from_tags
from ganpipe.tracking import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient


def beside_champion(uri: str, name: str, report: Path, folder: Path, scratch: Path) -> str:
    """Write the page and the summary of `report` anew into `folder`, with the champion's numbers.

    What the champion's run left is kept in `scratch`. Returns who the champion is, or nothing
    where there is none, or no page, or when it was measured by another protocol: numbers of
    different protocols are never compared.
    """
    if not (report / PAGE).is_file():  # a pipeline of the user's own
        return ""
    client = connect(uri)
    version = aliases(client, name).get(CHAMPION)
    if version is None:
        return ""
    found = client.get_model_version(name, version)
    theirs = _measures(client, found.run_id, scratch) if found.run_id else None
    theirs = theirs or _headline(found.tags)
    evaluation = read_json(report / EVALUATION)
    if theirs is None or theirs["protocol"] != evaluation["protocol"]:
        return ""
    who = f"version {version}"
    known = {row["name"]: row for row in theirs["measures"]}
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


def _measures(client: MlflowClient, run_id: str, folder: Path) -> dict[str, Any] | None:
    """The evaluation.json that a run left in MLflow; None for one that left none, or is gone."""
    from mlflow.exceptions import MlflowException

    path = f"report/{EVALUATION}"
    try:
        if path not in {file.path for file in client.list_artifacts(run_id, "report")}:
            return None
        kept = client.download_artifacts(run_id, path, str(folder))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None  # its run was deleted for good: the version's tags remain
    # a server's files come below the folder by their path, those of a local store by their name
    found: dict[str, Any] = read_json(kept)
    return found


def _headline(tags: dict[str, str]) -> dict[str, Any] | None:
    """What a version's tags tell: its first measure and the protocol."""
    known = from_tags(tags)
    if known is None:
        return None
    metric = known["protocol"]["metric"]
    return {
        "protocol": known["protocol"],
        "measures": [{"name": metric, "value": known[metric]}],
    }
