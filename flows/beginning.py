"""Where a run works: pinned code, a workspace, an MLflow run; a flow run tried again finds its own.

A retry in Prefect keeps the flow run's id. The workspace notes that id and what was asked for, so
the retry goes on there: with the code, the parameters and the images of the first attempt. In
MLflow each attempt is a run of its own, of the same name.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from prefect import get_run_logger
from prefect.runtime import flow_run as runtime

from flows.retries import patiently
from ganpipe import checkpoints, lineage, tracking
from ganpipe import params as parameters
from ganpipe import workspace as workspaces
from ganpipe.files import read_json, write_json
from ganpipe.params import Params
from ganpipe.workspace import Pin

NOTE = Path(".git") / "ganpipe-run.json"  # where neither git nor DVC looks for the user's files


@dataclass(frozen=True)
class Run:
    """A run on its way: where it works, and where it is recorded."""

    repo: Path
    workspace: Path
    params: Params
    pin: Pin
    mlflow_uri: str
    mlflow_run: str
    mlflow_experiment: str

    def identity(self) -> dict[str, Any]:
        return lineage.identity(self.workspace, self.pin)

    def link(self) -> str:
        """The run's page in MLflow, in Markdown."""
        page = f"experiments/{self.mlflow_experiment}/runs/{self.mlflow_run}"
        if not self.mlflow_uri.startswith("http"):
            return f"{self.mlflow_run} (`make ui` shows it)"
        return self._link(self.mlflow_run, page)

    def version_link(self, model: str, version: str) -> str:
        """The page of a model version in MLflow, in Markdown."""
        name = f"{model} {version}"
        if not self.mlflow_uri.startswith("http"):
            return name
        return self._link(name, f"models/{quote(model)}/versions/{version}")

    def _link(self, name: str, page: str) -> str:
        # MLflow opens with its pages for language models unless told otherwise
        return f"[{name}]({self.mlflow_uri.rstrip('/')}/#/{page}?workflowType=machine_learning)"


def begin(asked: Params, pin: Pin | None = None, found: dict[str, Any] | None = None) -> Run:
    """Pin code and parameters and make the workspace, or find that of an earlier attempt.

    `pin` and `found`: the code and the fingerprint of images to take, if not those of now.
    Raises GanpipeError where that is impossible, or MLflow or the source of images is away.
    """
    repo = workspaces.repository()
    state = workspaces.state_folder(repo)
    uri = tracking.tracking_uri(state)
    patiently(lambda: tracking.check(uri))
    os.environ["GANPIPE_STATE"] = str(state)  # where a source may keep what it downloads
    workspace, pin = _earlier(repo, asked, found) or _make(repo, asked, pin, found)
    params = parameters.load(workspace / parameters.PARAMS_FILE)
    return patiently(lambda: _record(repo, state, uri, workspace, params, pin))


def noted(repo: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The workspaces of this flow run, those of its earlier attempts too, and their notes."""
    for workspace in workspaces.workspaces(repo) if runtime.id else ():
        if (workspace / NOTE).is_file():
            note = read_json(workspace / NOTE)
            if note["flow_run"] == runtime.id:
                yield workspace, note


def _earlier(repo: Path, asked: Params, found: dict[str, Any] | None) -> tuple[Path, Pin] | None:
    """The workspace of an earlier attempt of this flow run with the same parameters."""
    from ganpipe.data.sources import make_source, write_fingerprint

    for workspace, note in noted(repo):
        if note["asked"] != asked.dump():
            continue
        get_run_logger().info(
            f"goes on in {workspace}, with code of commit {note['pin']['commit']}"
        )
        if not (workspace / "data" / "raw").exists():
            # nothing was read yet: the source may hold others by now
            params = parameters.load(workspace / parameters.PARAMS_FILE)
            now = found or patiently(make_source(params.data).fingerprint)
            write_fingerprint(now, workspace)
        return workspace, Pin(**note["pin"])
    return None


def _make(
    repo: Path, asked: Params, pin: Pin | None, found: dict[str, Any] | None
) -> tuple[Path, Pin]:
    from ganpipe.compute import resolve
    from ganpipe.data.sources import make_source, write_fingerprint

    logger = get_run_logger()
    params = patiently(lambda: checkpoints.resolve(resolve(asked.anchored(repo)), repo))
    if params.train.start != asked.train.start:
        logger.info(f"train.start={asked.train.start} is {params.train.start}")
    # before anything is made for the run
    found = found or patiently(make_source(params.data).fingerprint)
    pin = pin or workspaces.pin(repo)
    if pin.message():
        logger.warning(pin.message())
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:4]}"
    workspace = workspaces.create(repo, pin, params, run_id)
    write_fingerprint(found, workspace)
    # last: what has a note is whole
    write_json(
        workspace / NOTE, {"flow_run": runtime.id, "asked": asked.dump(), "pin": asdict(pin)}
    )
    logger.info(f"run {run_id} on {found['count']} files of {found['source']}, in {workspace}")
    return workspace, pin


def _record(repo: Path, state: Path, uri: str, workspace: Path, params: Params, pin: Pin) -> Run:
    """Open the run in MLflow."""
    known = {key: value for key, value in lineage.identity(workspace, pin).items() if value}
    with tracking.named_outages(uri):
        mlflow_run = tracking.start_run(uri, state, workspace.name, params, known)
        client = tracking.connect(uri)
        # Prefect's page may move to another port: its id is what finds the run again
        client.set_tag(mlflow_run, "ganpipe.prefect_flow_run", str(runtime.id))
        if patch := lineage.patch(repo, pin):
            client.log_text(mlflow_run, patch, "lineage/uncommitted.patch")
        experiment = client.get_run(mlflow_run).info.experiment_id
    return Run(repo, workspace, params, pin, uri, mlflow_run, experiment)
