"""A run in MLflow: parameters, report, lineage files (the curves: forwarding.py).

Nothing here changes process-wide MLflow state: every function takes the tracking URI and talks
through its own client, so a second run in the same process is never sent to the wrong place.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import re
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganpipe import addresses, processes
from ganpipe.dataset_inputs import log_dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import read_results
from ganpipe.files import read_json
from ganpipe.packaging import LINEAGE_FILES
from ganpipe.params import Params

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "ganpipe"
HOST_TAG, PROCESS_TAG = "ganpipe.host", "ganpipe.process"

# Defaults of this process; a value that the user exported wins.
MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow's own defaults (7 retries, 120 s each) hide a dead server for minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
CHECK_SECONDS = 5


def quieten() -> None:
    """Settings that MLflow reads while it is imported: call it before."""
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)


def connect(uri: str) -> MlflowClient:
    """A client of the tracking server and model registry at `uri`, without MLflow's chatter."""
    quieten()
    from mlflow import MlflowClient

    # the first use of a database prints how its tables are made
    # and each model version how long it is waited for
    for name in (
        *("mlflow.store.db.utils", "alembic.runtime.migration", "alembic.runtime.plugins"),
        "mlflow.store.model_registry.abstract_store",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def tracking_uri(state: Path) -> str:
    """Where this checkout's runs are recorded.

    The environment's MLFLOW_TRACKING_URI, else the server that `make ui` runs when it answers,
    else the SQLite database under the state folder.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    server = addresses.read(state).get("mlflow")
    if server and _http_problem(server) is None:
        return server
    return f"sqlite:///{(state / 'mlflow' / 'mlflow.db').absolute()}"


def check(uri: str) -> None:
    """Raise GanpipeError, within seconds, when nothing at `uri` speaks MLflow."""
    if uri.startswith(("http:", "https:")):
        if problem := _http_problem(uri):
            raise GanpipeError(
                f"MLflow at {uri} does not answer ({problem}): start that server, correct "
                "MLFLOW_TRACKING_URI, or unset it to record into a local database"
            )
        return
    from mlflow.exceptions import MlflowException

    try:
        if uri.startswith("sqlite:///"):
            _open_sqlite(Path(uri.removeprefix("sqlite:///").partition("?")[0]))
        connect(uri).search_experiments(max_results=1)
    except (MlflowException, sqlite3.Error, OSError) as error:
        raise GanpipeError(
            f"MLflow cannot use {uri} ({first_line(error)}): mend it, correct "
            "MLFLOW_TRACKING_URI, or unset it to record into a local database"
        ) from error


@contextmanager
def named_outages(
    uri: str,
    then: str = "start it again and run again, everything that was finished comes from the cache",
) -> Iterator[None]:
    """Turn what MLflow's client raises in this block when MLflow at `uri` fails into GanpipeError.

    `then` is the way out. A request that MLflow calls wrong is a defect of ganpipe and keeps
    its exception.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException  # a file's way to or from a server

    try:
        yield
    except (MlflowException, RequestException) as error:
        if getattr(error, "error_code", "") in ("BAD_REQUEST", "INVALID_PARAMETER_VALUE"):
            raise
        raise GanpipeError(
            f"MLflow at {uri} failed in the middle of the work ({first_line(error)}): {then}"
        ) from error


def start_run(uri: str, state: Path, name: str, params: Params, identity: dict[str, Any]) -> str:
    """Open a run with its parameters (`section.key`) and identity (tags); returns its id.

    Runs that a process of this machine left open when it was killed are closed as KILLED.
    """
    check(uri)
    client = connect(uri)
    from mlflow.entities import Param

    tags = identity_tags(identity)
    tags["mlflow.source.name"] = "ganpipe"
    if commit := identity.get("git_commit"):
        tags["mlflow.source.git.commit"] = str(commit)
    if person := user():
        tags["mlflow.user"] = person
    experiment = _experiment(client, uri, state)
    _close_orphans(client, experiment)
    tags |= {HOST_TAG: socket.gethostname(), PROCESS_TAG: json.dumps(processes.own_mark())}
    run = client.create_run(experiment, run_name=name, tags=tags)
    run_id: str = run.info.run_id
    values = [
        Param(f"{section}.{key}", str(value))
        for section, keys in params.dump().items()
        for key, value in keys.items()
    ]
    client.log_batch(run_id, params=values)
    return run_id


def _close_orphans(client: MlflowClient, experiment: str) -> None:
    where = f"attributes.status = 'RUNNING' AND tags.`{HOST_TAG}` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment], where):
        if not processes.is_alive(json.loads(run.data.tags[PROCESS_TAG])):
            client.set_terminated(run.info.run_id, "KILLED")


def end_run(uri: str, run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """Close a run."""
    connect(uri).set_terminated(run_id, status)


def log_report(uri: str, run_id: str, workspace: Path, beside: Path | None = None) -> None:
    """Send what a finished workspace holds: numbers, pictures, lineage files, the data set.

    Files in `beside` take the place of the report's own.
    """
    client = connect(uri)
    from mlflow.entities import Metric

    metrics = read_results(workspace / "report")
    images = int(read_json(workspace / "model" / "generator.json").get("images", 0))
    now = milliseconds()
    client.log_batch(
        run_id,
        metrics=[
            Metric(key, float(value), now, images)
            for key, value in metrics.items()
            if is_number(value) and key != "images"  # which is the step
        ],
    )
    client.log_artifacts(run_id, str(workspace / "report"), "report")
    if beside is not None:
        client.log_artifacts(run_id, str(beside), "report")
    client.log_artifacts(run_id, str(workspace / "data" / "report"), "data")
    if (workspace / "model" / "grids").is_dir():
        client.log_artifacts(run_id, str(workspace / "model" / "grids"), "grids")
    if (workspace / "model" / "film.webp").is_file():
        client.log_artifact(run_id, str(workspace / "model" / "film.webp"))
    for name in LINEAGE_FILES:
        if (workspace / name).is_file():
            client.log_artifact(run_id, str(workspace / name), "lineage")
    client.set_tag(run_id, "ganpipe.protocol", json.dumps(metrics["protocol"], sort_keys=True))
    client.set_tag(run_id, "mlflow.note.content", description(run_id, metrics))
    log_dataset(client, run_id, workspace)


def description(run_id: str, metrics: dict[str, Any]) -> str:
    """What MLflow's pages show of a run and of its model version: the number and the samples."""
    from ganpipe.registry.headline import describe  # the registry imports this module

    picture = f"get-artifact?run_uuid={run_id}&path=report/samples.png"
    return f"{describe(metrics)}\n\n![samples]({picture})"


def _experiment(client: MlflowClient, uri: str, state: Path) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        local = uri.startswith("sqlite:") or uri == addresses.read(state).get("mlflow")
        # A plain folder, not the server's proxy: the database can be read with and without it.
        location = (state / "mlflow" / "artifacts").absolute().as_uri() if local else None
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=location))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return _experiment(client, uri, state)  # another run was faster
    if found.lifecycle_stage == "deleted":
        raise GanpipeError(
            f"MLflow experiment {EXPERIMENT} at {uri} was deleted: bring it back with "
            f"`MLFLOW_TRACKING_URI={uri} mlflow experiments restore -x {found.experiment_id}`"
        )
    return str(found.experiment_id)


def _open_sqlite(path: Path) -> None:
    """Fail at once where MLflow would try ten times, for minutes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=CHECK_SECONDS)) as database:
        database.execute("SELECT count(*) FROM sqlite_master")


def _http_problem(uri: str) -> str | None:
    """Why an HTTP address does not speak MLflow, or None when it does."""
    quieten()
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(uri),  # type: ignore[no-untyped-call]
            "/api/2.0/mlflow/experiments/search?max_results=1",
            "GET",
            max_retries=0,
            timeout=CHECK_SECONDS,
        )
    except MlflowException as error:
        return first_line(error)
    if answer.status_code != 200:
        return f"status {answer.status_code}: {answer.text.strip()[:100]}"
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return "something answers there, but it is no MLflow"
    return None


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""


def identity_tags(identity: dict[str, Any]) -> dict[str, str]:
    """What ganpipe.lineage knows of a run, as tags `ganpipe.*`; unknown parts are left out."""
    known = {key: value for key, value in identity.items() if value is not None}
    return {f"ganpipe.{key}": text(value) for key, value in known.items()}


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def milliseconds() -> int:
    return int(time.time() * 1000)


def first_line(error: BaseException) -> str:
    """The reason in few words: what the system said where MLflow quotes it, else the first line."""
    message = str(error).strip() or type(error).__name__
    if found := re.search(r"\[Errno -?\d+\] ([\w ,]+)|(timed out)", message):
        return found[1] or found[2]
    return message.splitlines()[0][:200]
