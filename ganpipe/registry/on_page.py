"""The decisions on a version, in the page of its run in MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ganpipe.evaluation.report import PAGE

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from ganpipe.registry.audit import Move

REPORT = "report"


def show(client: MlflowClient, run_id: str, moves: Sequence[Move]) -> None:
    """Write the decisions, newest first, into report/index.html of a run that has one."""
    from mlflow.exceptions import MlflowException

    from ganpipe.evaluation.report.content import Decision
    from ganpipe.evaluation.report.page import DECISIONS, with_decisions

    path = f"{REPORT}/{PAGE}"
    try:
        if path not in {file.path for file in client.list_artifacts(run_id, REPORT)}:
            return  # a pipeline of the user's own
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return  # its run was deleted for good
    told = [
        Decision(
            what=f"{move.action}, was {move.previous}" if move.previous else move.action,
            at=move.at[:16].replace("T", " ") + " UTC",
            by=move.by,
            reason=move.reason,
            rules=[(each.rule, each.passed, each.told) for each in move.decision.results],
        )
        for move in sorted(moves, key=lambda move: move.at, reverse=True)
    ]
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
        page = Path(client.download_artifacts(run_id, path, folder)).read_text(encoding="utf-8")
    if DECISIONS not in page:
        return  # it was made by an earlier ganpipe
    client.log_text(run_id, with_decisions(page, told), path)
