"""The flow `retrain`: a new version where data, code or parameters are new, else nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from prefect import flow, get_run_logger
from prefect.runtime import flow_run as runtime
from prefect.states import Completed
from pydantic import Field

from flows.artifacts import MarkdownInPlace
from flows.beginning import NOTE, noted
from flows.data_events import emit_data_changed
from flows.diagnosis import failed_flow
from flows.one_retraining import BusyError, alone, name_of
from flows.retries import Done, patiently
from flows.signature import typed
from ganpipe import checkpoints, registry, tracking
from ganpipe import params as parameters
from ganpipe import workspace as workspaces
from ganpipe.data.sources import FINGERPRINT, make_source
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json
from ganpipe.lineage import carried
from ganpipe.params import Params
from ganpipe.params.retrain import RetrainParams
from ganpipe.registry import CHAMPION
from ganpipe.registry.versions import registered
from ganpipe.retraining import Made, news, of_checkout, of_version
from ganpipe.training.start import SCRATCH

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

# tags of the registered model: the source's digest that was seen last, and what came of the
# last retraining
SEEN, LAST = "ganpipe.source_seen", "ganpipe.retrained"
LONGEST_DECISION = 1000  # characters; a tag holds 5,000


@dataclass(frozen=True)
class Now:
    """A model, what it would be made of now, and what is known of it."""

    uri: str
    params: Params
    made: Made
    start: str
    champion: ModelVersion | None
    tags: dict[str, str]

    @property
    def model(self) -> str:
        return self.params.registration.model


def run_name() -> str:
    """Like `retrain ganpipe from scratch`."""
    given = RetrainParams.model_validate(runtime.parameters.get("retrain") or {})
    named = str(runtime.parameters.get("model") or "")
    try:
        model = wanted(workspaces.repository(), given, named).registration.model
    except GanpipeError:
        return "retrain"  # the run itself fails of it, and says so
    return f"{name_of(model)} from {'scratch' if given.start == SCRATCH else 'its champion'}"


def wanted(repo: Path, given: RetrainParams, model: str = "") -> Params:
    """The parameters of a retraining: those of params.yaml, and what was set beside.

    Raises GanpipeError that names a bad key or value.
    """
    named = [f"register.model={model}"] if model else []
    params = parameters.override(
        parameters.load(repo / parameters.PARAMS_FILE), [*given.overrides, *named]
    )
    counter = {} if given.start == SCRATCH else {"start_counter": "restart"}
    train = params.train.model_copy(update={"start": SCRATCH, **counter})
    return params.model_copy(update={"train": train})


@flow(name="retrain", flow_run_name=run_name)
@typed
def retrain(
    retrain: RetrainParams = RetrainParams(),  # noqa: B008 - frozen
    model: Annotated[str, Field(max_length=200, pattern=r"^[^/:%\"']*$")] = "",
) -> Any:
    """Look at the source again; train where data, code or parameters are not the champion's.

    Otherwise it ends at once as Skipped, with the reason. Parameters are those of params.yaml.

    Args:
        retrain: how
        model: name in the MLflow model registry, in place of register.model; empty: that one
    """
    try:
        repo = workspaces.repository()
        begun = _begun(repo)
        params = begun[1] if begun else wanted(repo, retrain, model)
        with alone(params.registration.model, begun=begun is not None):
            return _train(repo, params) if begun else _retrain(repo, params, retrain.start)
    except BusyError as busy:
        return _skipped(str(busy))
    except GanpipeError as problem:
        return failed_flow(problem)


def _retrain(repo: Path, params: Params, start: str) -> Any:
    state = workspaces.state_folder(repo)
    uri = tracking.tracking_uri(state)
    patiently(lambda: tracking.check(uri))
    os.environ[workspaces.STATE_VARIABLE] = str(state)  # where a source may keep what it downloads
    source = patiently(make_source(params.data.anchored(repo)).fingerprint)
    now = _asking(uri, lambda: _look(repo, uri, params, start, source))
    because = _news(now)
    if not because:
        return _skipped(
            f"nothing new in data ({now.made.source['count']:,} files), code and parameters "
            f"since the champion, {_told(now.champion)}"
        )
    if last := _tried(now):
        return _skipped(f"{last} ({'; '.join(because)})")
    _explain(now, because)
    train = params.train.model_copy(update={"start": now.start})
    return _train(repo, params.model_copy(update={"train": train}))


def _train(repo: Path, params: Params) -> Any:
    from flows.pipeline import pipeline  # costs seconds, and nothing of it is needed to skip

    ended: Any = pipeline(params)
    if ended.is_completed():
        _remember(repo, ended.result())
    return ended


def _begun(repo: Path) -> tuple[Path, Params, str] | None:
    """Workspace, parameters and commit of this flow run's earlier attempt, which decided to train.

    Its retry goes on with them, whatever the checkout, the images and the champion are by now.
    """
    for workspace, note in noted(repo):
        asked = parameters.validate(note["asked"], source=str(workspace / NOTE))
        return workspace, asked, note["pin"]["commit"]
    return None


def _asking(uri: str, work: Callable[[], Done]) -> Done:
    """Do what asks MLflow, and do it again after an outage."""
    return patiently(tracking.named_outages(uri)(work))


def _keep(uri: str, model: str, tag: str, value: str) -> None:
    client = tracking.connect(uri)
    _asking(uri, lambda: client.set_registered_model_tag(model, tag, value))


def _look(repo: Path, uri: str, params: Params, start: str, source: dict[str, Any]) -> Now:
    """What would be made now, beside the registry as it is."""
    made = of_checkout(repo, workspaces.pin(repo).commit, params, source)
    client, model = tracking.connect(uri), params.registration.model
    known = registered(client, model)
    number = registry.aliases(client, model).get(CHAMPION)
    champion = client.get_model_version(model, number) if number else None
    begin = SCRATCH
    if start == "champion" and champion is not None:
        begin = checkpoints.address(f"models:/{model}@{CHAMPION}", repo)
    return Now(uri, params, made, begin, champion, dict(known.tags) if known else {})


def _news(now: Now) -> list[str]:
    """What is new since the champion, which it needs the champion's lineage for."""
    if now.champion is None:
        return [f"{now.model} has no champion yet"]
    champion = now.champion
    before = _asking(now.uri, lambda: _made_of(now.uri, champion))
    _tell_of_data(now, before)
    return news(before, now.made)


def _made_of(uri: str, version: ModelVersion) -> Made:
    with carried.unpacked(uri, version) as kept:
        return of_version(kept)


def _tell_of_data(now: Now, before: Made) -> None:
    """Once for each change: a retraining that comes to nothing must not call for the next."""
    digest = str(now.made.source["digest"])
    seen = now.tags.get(SEEN, str(before.source.get("digest", "")))
    if seen != digest:
        emit_data_changed(now.model, str(now.made.source["source"]), digest, seen)
    if now.tags.get(SEEN) != digest:
        _keep(now.uri, now.model, SEEN, digest)


def _tried(now: Now) -> str:
    """What came of it, where the last retraining was made of the same; else empty."""
    last = json.loads(now.tags.get(LAST, "{}"))
    if last.get("digest") != now.made.digest(now.start):
        return ""
    return (
        f"made of the same before: {now.model} version {last['version']}, {last['alias']}: "
        f"{last['decision']}"
    )


def _remember(repo: Path, summary: Any) -> None:
    """Note what came of it, and what it was made of: by now the checkout may hold other things."""
    begun = _begun(repo)
    if begun is None:  # somebody deleted the workspace
        return
    workspace, asked, commit = begun
    params = asked.model_copy(update={"train": asked.train.model_copy(update={"start": SCRATCH})})
    made = of_checkout(repo, commit, params, read_json(workspace / FINGERPRINT))
    told = {
        "digest": made.digest(asked.train.start),
        "version": summary.version,
        "alias": summary.alias,
        "decision": summary.decision[:LONGEST_DECISION],
    }
    uri = tracking.tracking_uri(workspaces.state_folder(repo))
    _keep(uri, summary.model, LAST, json.dumps(told))


def _told(version: ModelVersion | None) -> str:
    return "" if version is None else f"{version.name} version {version.version}"


def _skipped(why: str) -> Any:
    get_run_logger().info("skipped: %s", why)
    return Completed(name="Skipped", message=why)


def _explain(now: Now, because: list[str]) -> None:
    """Show on the run's page why it trains: it trains without that too."""
    get_run_logger().info("trains again: %s", "; ".join(because))
    start = _told(now.champion) if now.start != SCRATCH else SCRATCH
    since = f"Since the champion, {_told(now.champion)}:" if now.champion is not None else "Since:"
    lines = [f"# Trains {now.model} again, from {start}", "", since, ""]
    text = "\n".join([*lines, *(f"- {each}" for each in because), ""])
    MarkdownInPlace("retraining").show(text, "; ".join(because))
