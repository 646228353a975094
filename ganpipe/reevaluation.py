"""A registered version measured anew: with today's code, by today's or another version's protocol.

The work is done in a workspace of its own by the stages `reference` and `evaluate`, so DVC's cache
keeps what a killed command had finished.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import yaml

from ganpipe import lineage, params, registry, tracking, workspace
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import read_results
from ganpipe.files import read_json
from ganpipe.lineage import dvc
from ganpipe.lineage.carried import unpacked
from ganpipe.params import PARAMS_FILE, EvaluateParams, Params
from ganpipe.registry.evaluations import EVALUATION_TAG, Evaluation, digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

DATA = ("data/train", "data/test")
PREPROCESS = "preprocess"


@dataclass(frozen=True)
class Reevaluation:
    """What is known of a version under a protocol."""

    evaluation: Evaluation
    done: bool
    """It was measured now, rather than before."""


def reevaluate(
    repo: Path,
    uri: str,
    version: ModelVersion,
    assignments: list[str],
    like: ModelVersion | None = None,
    again: bool = False,
) -> Reevaluation:
    """Measure a version by the checkout's params.yaml on its own data, or as `like` was measured.

    `assignments` change parameters `evaluate.*`. What was measured by the same protocol already
    is not measured again, unless `again`. Raises GanpipeError for versions without lineage, data
    that is neither in DVC's cache nor in its remote, and everything that stops a stage.
    """
    if like is not None and not assignments and not again:
        theirs = registry.evaluation_of(uri, like)
        if theirs and (known := registry.evaluation_of(uri, version, theirs.protocol)):
            return Reevaluation(known, done=False)
    chosen, lock = _made_of(repo, uri, like or version, assignments, like is not None)
    state = workspace.state_folder(repo)
    generator = registry.resolve(uri, f"models:/{version.name}/{version.version}", state / "models")
    pinned = workspace.pin(repo)
    run = f"evaluate-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:4]}"
    folder = workspace.create(repo, pinned, chosen, run)
    try:
        _bring_data(repo, folder, lock)
        shutil.copytree(generator, folder / "model", dirs_exist_ok=True)
        _stage(repo, folder, "reference", again)
        protocol = read_json(folder / "data" / "reference" / "reference.json")["protocol"]
        if not again and (known := registry.evaluation_of(uri, version, protocol)):
            return Reevaluation(known, done=False)
        _stage(repo, folder, "evaluate", again)
        with tracking.named_outages(uri):
            _record(uri, version, repo, folder, pinned)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    measured = registry.find(uri, str(version.version), version.name)
    found = registry.evaluation_of(uri, measured, protocol)
    if found is None:
        raise GanpipeError(
            f"what was measured of model {version.name} version {version.version} cannot be read "
            f"from {uri}: somebody deleted it at the same time"
        )
    return Reevaluation(found, done=True)


def _made_of(
    repo: Path, uri: str, source: ModelVersion, assignments: list[str], like: bool
) -> tuple[Params, dict[str, Any]]:
    """Parameters for measuring on the data of `source`, and the entry of these in its dvc.lock."""
    if wrong := [each for each in assignments if not each.startswith("evaluate.")]:
        raise GanpipeError(f"--set {wrong[0]}: only evaluate.* decides how a version is measured")
    here = params.load(repo / PARAMS_FILE)
    with unpacked(uri, source) as kept:
        values = yaml.safe_load((kept / PARAMS_FILE).read_text(encoding="utf-8"))
        lock = yaml.safe_load((kept / lineage.LOCK_FILE).read_text(encoding="utf-8")) or {}
    # `register` and `compute` decide nothing here, and older ones may be unknown today
    sections = {name: values[name] for name in ("data", "model", "train") if name in values}
    evaluate = here.evaluate.model_dump(mode="json")
    if like:  # but where weights lie and how many cores there are is known here
        theirs = {**EvaluateParams().model_dump(mode="json"), **values.get("evaluate", {})}
        evaluate = theirs | {key: evaluate[key] for key in ("weights", "threads")}
    name = f"models:/{source.name}/{source.version}"
    chosen = params.validate(sections | {"evaluate": evaluate}, source=f"{PARAMS_FILE} of {name}")
    chosen = params.override(chosen, assignments).anchored(repo)
    entry = lock.get("stages", {}).get(PREPROCESS, {})
    if {*DATA} - {each["path"] for each in entry.get("outs", [])}:
        raise GanpipeError(
            f"the dvc.lock of {name} does not name {' and '.join(DATA)}: its data cannot be had"
        )
    from ganpipe.compute import resolve_evaluate

    return chosen.model_copy(update={"evaluate": resolve_evaluate(chosen.evaluate)}), entry


def _bring_data(repo: Path, folder: Path, entry: dict[str, Any]) -> None:
    """Data set and test images, by the hashes of the lock: from DVC's cache, else its remote."""
    lock = {"schema": "2.0", "stages": {PREPROCESS: entry}}
    (folder / lineage.LOCK_FILE).write_text(yaml.safe_dump(lock), encoding="utf-8")
    if problem := dvc.fetch(repo, folder, *DATA):
        raise GanpipeError(
            f"{' and '.join(DATA)} are neither in DVC's cache nor to be had from a DVC remote "
            f"({problem}): run `dvc push` where they were made, and set that remote here "
            "(`ganpipe init --remote`)"
        )


def _stage(repo: Path, folder: Path, name: str, again: bool) -> None:
    options = ["--no-run-cache"] * again
    env = workspace.environment(repo, folder)
    if dvc.repro(folder, env, "--quiet", "--single-item", name, *options) != 0:
        raise GanpipeError(f"the stage {name} failed in a workspace for measuring, see above")


def _record(
    uri: str, version: ModelVersion, repo: Path, folder: Path, pinned: workspace.Pin
) -> None:
    """Keep the report in an MLflow run, and only then name that run in the version's tag."""
    identity = lineage.identity(folder, pinned)
    name = f"evaluate {version.name} {version.version}"
    chosen = params.load(folder / PARAMS_FILE)
    run_id = tracking.start_run(uri, workspace.state_folder(repo), name, chosen, identity)
    client = tracking.connect(uri)
    try:
        protocol = _log_report(client, run_id, folder, version)
        if patch := lineage.patch(repo, pinned):
            client.log_text(run_id, patch, "lineage/uncommitted.patch")
    except BaseException as problem:
        tracking.end_run(uri, run_id, "FAILED" if isinstance(problem, Exception) else "KILLED")
        raise
    tracking.end_run(uri, run_id, "FINISHED")
    tag = f"{EVALUATION_TAG}{digest(protocol)}"
    client.set_model_version_tag(version.name, version.version, tag, run_id)


def _log_report(
    client: MlflowClient, run_id: str, folder: Path, version: ModelVersion
) -> dict[str, Any]:
    """Send a workspace's report and what it was made by; returns its protocol."""
    from mlflow.entities import Metric

    metrics = read_results(folder / "report")
    now = tracking.milliseconds()
    client.log_batch(
        run_id,
        metrics=[
            Metric(key, float(value), now, 0)
            for key, value in metrics.items()
            if tracking.is_number(value) and key != "images"
        ],
    )
    client.log_artifacts(run_id, str(folder / "report"), "report")
    for name in (PARAMS_FILE, lineage.LOCK_FILE):
        client.log_artifact(run_id, str(folder / name), "lineage")
    client.set_tag(run_id, "ganpipe.evaluates", f"models:/{version.name}/{version.version}")
    protocol: dict[str, Any] = metrics["protocol"]
    client.set_tag(run_id, "ganpipe.protocol", json.dumps(protocol, sort_keys=True))
    client.set_tag(run_id, "mlflow.note.content", tracking.description(run_id, metrics))
    return protocol
