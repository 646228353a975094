"""What MLflow keeps: registered versions, their files (logged models), and runs."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe import addresses, processes
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.lineage import LOCK_FILE
from ganpipe.packaging import GENERATOR_TAG
from ganpipe.registry.moves import MOVING, left
from ganpipe.registry.versions import registered, versions
from ganpipe.tracking import EXPERIMENT, HOST_TAG, PROCESS_TAG, connect, first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from mlflow.entities.model_registry import ModelVersion

KEEP = "keep"
NOT_OURS = "not ganpipe's"
COMMIT_TAG = "ganpipe.git_commit"
LOCK_TAG = "ganpipe.dvc_lock_sha256"


@dataclass(frozen=True)
class Version:
    """A registered version with what decides whether it stays."""

    found: ModelVersion
    tags: Mapping[str, str]
    """Its own and its files': a version that was registered by hand has none of its own."""
    why: str
    """Why it stays whatever its age; empty for one that may go."""

    @property
    def name(self) -> str:
        return f"{self.found.name}/{self.found.version}"

    @property
    def told(self) -> str:
        kept = f" ({self.why})" if self.why else ""
        return f"version {self.found.version} of {self.found.name}{kept}"


@dataclass(frozen=True)
class Tracked:
    """All that one MLflow keeps of ganpipe's, and all versions of every model."""

    uri: str
    versions: list[Version]
    """Newest first."""
    models: list[LoggedModel]
    runs: list[Run]
    """Newest first."""


def read(uri: str) -> Tracked:
    """Everything that decides what stays. Raises GanpipeError when MLflow does not answer."""
    with named(uri):
        client = connect(uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        ids = [experiment.experiment_id] if experiment else []
        models = list(_pages(client.search_logged_models, ids)) if ids else []
        runs = list(_pages(client.search_runs, ids)) if ids else []
        tags = {place: model.tags for model in models for place in places(model)}
        return Tracked(uri, list(_versions(client, tags)), models, runs)


def _versions(client: MlflowClient, files: Mapping[str, Mapping[str, str]]) -> Iterator[Version]:
    for model in _pages(client.search_registered_models):
        kept = reasons(client, model.name)
        for version in reversed(versions(client, model.name)):
            tags = {**files.get(version.source or "", {}), **version.tags}
            yield Version(version, tags, kept.get(str(version.version), "") or _reason(tags))


def reasons(client: MlflowClient, model: str) -> dict[str, str]:
    """Why versions of a model stay, by number, as its aliases say now.

    So do the versions that an alias is on its way to, and those that were champion and
    previous-champion before somebody moved an alias in MLflow itself.
    """
    found = registered(client, model)
    if found is None:
        return {}
    kept: dict[str, str] = {}
    for alias, number in sorted(found.aliases.items()):
        kept[str(number)] = ", ".join(filter(None, (kept.get(str(number)), alias)))
    for number in filter(None, (found.tags.get(MOVING), *(left(found.tags) or ()))):
        kept.setdefault(str(number), "an alias is moving to or from it")
    return kept


def _reason(tags: Mapping[str, str]) -> str:
    if KEEP in tags:
        return f"tagged {KEEP}"
    return "" if GENERATOR_TAG in tags else NOT_OURS


def places(model: LoggedModel) -> tuple[str, str]:
    """What a version's source may say that has this model's files."""
    return model.artifact_location, f"models:/{model.model_id}"


def running_runs(tracked: Tracked) -> dict[str, str]:
    """Why runs that are under way stay, by id and by name; one whose process is gone is not."""
    found = {}
    for run in tracked.runs:
        if run.info.status not in ("RUNNING", "SCHEDULED"):
            continue
        host = run.data.tags.get(HOST_TAG, "another machine")
        mark = run.data.tags.get(PROCESS_TAG)
        if mark and host == socket.gethostname() and not processes.is_alive(json.loads(mark)):
            continue
        found[run.info.run_id] = found[str(run.info.run_name)] = under_way(host)
    return found


def under_way(host: str) -> str:
    return f"under way on {host}"


def beside(state: Path, uri: str) -> str | None:
    """The database of this checkout where it is not what `uri` shows.

    Its versions need the same cache, whatever server is used now.
    """
    database = state / "mlflow" / "mlflow.db"
    own = f"sqlite:///{database}"
    if uri in (own, addresses.read(state).get("mlflow")) or not database.is_file():
        return None
    return own


def lock_text(uri: str, version: Version) -> str:
    """The dvc.lock of a version; empty for one that never had any.

    Raises GanpipeError when it is gone, or is not the file that was registered.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if (digest := version.tags.get(LOCK_TAG)) is None:
        return ""
    source = f"{version.found.source}/lineage/{LOCK_FILE}"
    told = f"the {LOCK_FILE} of {version.told} ({source} at {uri})"
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
        try:
            kept = download_artifacts(artifact_uri=source, dst_path=folder, tracking_uri=uri)
        except (MlflowException, RequestException, OSError) as error:
            raise GanpipeError(f"{told} is gone or out of reach: {first_line(error)}") from error
        if sha256(kept) != digest:
            raise GanpipeError(f"{told} is not the file that was registered")
        return Path(kept).read_text(encoding="utf-8")


def _pages(search: Any, *arguments: Any) -> Iterator[Any]:
    page = search(*arguments)
    while True:
        yield from page
        if not page.token:
            return
        page = search(*arguments, page_token=page.token)


@contextmanager
def named(uri: str) -> Iterator[None]:
    """Turn what MLflow raises in this block into GanpipeError."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except (MlflowException, RequestException) as error:
        raise GanpipeError(
            f"MLflow at {uri} failed ({first_line(error)}): mend it and run `ganpipe gc` again, "
            "it goes on with what is left"
        ) from error
