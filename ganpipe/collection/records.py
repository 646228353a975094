"""Which of the versions, of their files and of the runs in MLflow go, and their deletion.

`mlflow gc` is not used. It needs the server's database, and cannot be kept to chosen ids: beside
the runs that it is given it removes every experiment and logged model that somebody marked
deleted, those of a champion included. So the files are deleted through MLflow's artifact store
and the entries marked deleted, which leaves some rows of the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ganpipe.collection.folders import own_bytes
from ganpipe.collection.items import Item, Rules, judged
from ganpipe.collection.tracked import (
    NOT_OURS,
    Tracked,
    Version,
    named,
    places,
    reasons,
    running_runs,
)
from ganpipe.errors import GanpipeError
from ganpipe.packaging import GENERATOR_TAG
from ganpipe.registry import audit
from ganpipe.registry.evaluations import EVALUATION_TAG
from ganpipe.tracking import HOST_TAG, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

FILES = "files"  # what the `where` of a version's files begins with


def version_items(tracked: Tracked, rules: Rules) -> list[Item]:
    """The registered versions, newest first; each model's newest stay."""
    ranks: dict[str, int] = {}
    items = []
    for version in tracked.versions:
        model = version.found.name
        rank = ranks.setdefault(model, 0)
        ranks[model] += 1
        written = (version.found.last_updated_timestamp or version.found.creation_timestamp) / 1000
        items.append(
            judged(
                "versions",
                version.told.partition(" (")[0],
                version.name,
                written,
                rules,
                size=0,  # the files are items of their own
                needed=version.why,
                rank=rank,
            )
        )
    return items


def file_items(tracked: Tracked, staying: Sequence[Version], rules: Rules) -> list[Item]:
    """The files of versions: they go when no version that stays has them."""
    needed = {version.found.source: version.told for version in staying}
    running = running_runs(tracked)
    items = []
    for model in tracked.models:
        by = next((needed[place] for place in places(model) if place in needed), "")
        by = by or running.get(model.source_run_id or "", "")
        by = by or ("" if GENERATOR_TAG in model.tags else NOT_OURS)
        items.append(
            judged(
                "versions",
                f"files {model.model_id[:10]}",
                f"{FILES}/{model.model_id}",
                model.creation_timestamp / 1000,
                rules,
                size=_size(model.artifact_location),
                needed=by,
            )
        )
    return items


def run_items(tracked: Tracked, staying: Sequence[Version], rules: Rules) -> list[Item]:
    """The runs, newest first. That of a version that stays holds its report and curves."""
    needed = {version.found.run_id or "": f"the run of {version.told}" for version in staying}
    for version in staying:
        for tag, run_id in version.found.tags.items():
            if tag.startswith(EVALUATION_TAG):
                needed.setdefault(run_id, f"measured {version.told}")
    needed |= running_runs(tracked)
    items = []
    for rank, run in enumerate(tracked.runs):
        by = needed.get(run.info.run_id, "")
        # such as the history of promotions
        by = by or ("" if HOST_TAG in run.data.tags else "not a run of the pipeline")
        written = (run.info.end_time or run.info.start_time) / 1000
        size = _size(run.info.artifact_uri)
        name = run.info.run_name or run.info.run_id
        items.append(
            judged("runs", name, run.info.run_id, written, rules, size=size, needed=by, rank=rank)
        )
    return items


def remove(uri: str, item: Item) -> None:
    """Delete a version's entry, its files, or a run.

    Files go before their entry, so that the next collection finds what a kill left. Raises
    GanpipeError when MLflow fails, or a version was given an alias or a tag meanwhile.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    kind, _, rest = item.where.partition("/")
    with named(uri):
        client = connect(uri)
        if item.kind == "versions" and kind != FILES:
            _remove_version(client, item.where)
            return
        owner = rest if item.kind == "versions" else item.where
        place = (
            client.get_logged_model(owner).artifact_location
            if item.kind == "versions"
            else client.get_run(owner).info.artifact_uri
        )
        if owner not in urlsplit(place).path.split("/"):
            # all that lies there goes, so it must be the owner's alone
            raise GanpipeError(f"the files of {owner} at {uri} lie in {place}: delete it by hand")
        files = get_artifact_repository(place, tracking_uri=uri)
        files.delete_artifacts()  # type: ignore[no-untyped-call]
        if item.kind == "versions":
            client.delete_logged_model(owner)
        else:
            client.delete_run(owner)


def _remove_version(client: MlflowClient, where: str) -> None:
    name, _, number = where.rpartition("/")
    # MLflow would delete an alias with its version
    if why := reasons(client, name).get(number):
        raise GanpipeError(f"version {number} of {name} stays: {why}; run `ganpipe gc` again")
    # its tags go with it: promotions.jsonl must have what they say
    decided = audit.latest(client, name, number)
    if decided and (warning := audit.published(client, decided).warning):
        raise GanpipeError(f"version {number} of {name} stays: {warning}")
    client.delete_model_version(name, number)


def _size(uri: str) -> int | None:
    """Bytes below a local folder; None for what a server or a bucket keeps."""
    parts = urlsplit(uri)
    return own_bytes(Path(unquote(parts.path))) if parts.scheme in ("file", "") else None
