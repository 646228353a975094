"""The flow `train`: images in, a measured and registered generator out."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from urllib.parse import quote
from uuid import uuid4

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from flows.artifacts import data_markdown, report_markdown
from flows.locks import promotion_lock
from flows.promote import ask_person
from flows.registry_events import emit_move, emit_registered
from flows.stage import STAGES, StageResult, failed, stage
from ganpipe import checkpoints, forwarding, lineage, registry, tracking
from ganpipe import workspace as workspaces
from ganpipe.champion import beside_champion
from ganpipe.collection import using_cache
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.report import SUMMARY
from ganpipe.evaluation.results import read_results
from ganpipe.files import read_json
from ganpipe.params import (
    ComputeParams,
    DataParams,
    EvaluateParams,
    ModelParams,
    Params,
    RegisterParams,
    TrainParams,
)
from ganpipe.registry.audit import latest
from ganpipe.registry.headline import describe
from ganpipe.registry.place import Place

# The form's sections are those of params.yaml; pydantic's base class happens to have an
# attribute called `register`, which no parameter model uses.
warnings.filterwarnings(
    "ignore", message='Field name "register" in .* shadows an attribute', category=UserWarning
)


@dataclass(frozen=True)
class Summary:
    """What a finished run tells its user."""

    run_id: str
    workspace: Path
    data: str
    metric: str
    value: float
    floor: float
    samples: Path
    model: str
    version: str
    alias: str
    decision: str
    cached: list[str]
    seconds: float

    @property
    def headline(self) -> str:
        """The number and what became of it, in one line."""
        return (
            f"{self.metric} {self.value:.4g} (real against real {self.floor:.4g}); "
            f"{self.model} version {self.version} is {self.alias}"
        )

    @property
    def adopt_command(self) -> str:
        return f"ganpipe adopt {self.run_id}"


@dataclass(frozen=True)
class Run:
    """A run on its way: where it works, and where it is recorded."""

    repo: Path
    workspace: Path
    params: Params
    pin: workspaces.Pin
    mlflow_uri: str
    mlflow_run: str

    def identity(self) -> dict[str, Any]:
        return lineage.identity(self.workspace, self.pin)


def run_name() -> str:
    """Like `train digits dcgan 100kimg`."""
    chosen = runtime.parameters
    sections = {name: dict(chosen.get(name) or {}) for name in ("data", "model", "train")}
    source = sections["data"].get("source", DataParams().source)
    architecture = sections["model"].get("architecture", ModelParams().architecture)
    kimg = float(sections["train"].get("kimg", TrainParams().kimg))
    return f"train {source} {architecture} {kimg:g}kimg"


@flow(name="train", flow_run_name=run_name)
def train(
    data: DataParams = DataParams(),  # noqa: B008 - frozen, and the form shows it
    model: ModelParams = ModelParams(),  # noqa: B008
    train: TrainParams = TrainParams(),  # noqa: B008
    evaluate: EvaluateParams = EvaluateParams(),  # noqa: B008
    register: RegisterParams = RegisterParams(),  # noqa: B008
    compute: ComputeParams = ComputeParams(),  # noqa: B008
) -> Any:
    """Train a generator, measure it, and register it.

    Stages whose inputs did not change come from DVC's cache. The run works in a checkout of its
    own: nothing in the repository changes until `ganpipe adopt`.
    """
    sections = {"data": data, "model": model, "train": train, "evaluate": evaluate}
    sections |= {"register": register, "compute": compute}
    try:
        # until it is registered, no lock file that `ganpipe gc` knows names its bytes
        with using_cache(workspaces.state_folder(workspaces.repository())):
            return _pipeline(Params.model_validate(sections))
    except GanpipeError as problem:
        return failed(problem)


def _pipeline(params: Params) -> Any:
    """Run to a state whose result is a Summary."""
    began = time.monotonic()
    run = _begin(params)
    forwarder = forwarding.HistoryForwarder(run.mlflow_uri, run.mlflow_run)
    try:
        results = _run_stages(run, forwarder)
        with tracking.named_outages(run.mlflow_uri):
            told = _log_report(run)
            registration: registry.Registration = register_model(run, return_state=True).result()
            tracking.end_run(run.mlflow_uri, run.mlflow_run, "FINISHED")
    except BaseException as problem:
        forwarder.stop()
        _close(run, "FAILED" if isinstance(problem, Exception) else "KILLED")
        raise
    summary = _summarise(run, registration, results, time.monotonic() - began)
    _report(run, summary, told + _gate(registration))
    return Completed(message=summary.headline, data=summary)


def _log_report(run: Run) -> str:
    """Send the report to MLflow, beside the champion's numbers; returns its summary."""
    report = run.workspace / "report"
    with TemporaryDirectory(prefix="ganpipe-report-") as folder:
        beside, scratch = Path(folder) / "beside", Path(folder) / "champion"
        beside.mkdir()
        scratch.mkdir()
        model = run.params.registration.model
        who = beside_champion(run.mlflow_uri, model, report, beside, scratch)
        tracking.log_report(run.mlflow_uri, run.mlflow_run, run.workspace, beside)
        summary = (beside if who else report) / SUMMARY
        if not summary.is_file():  # a pipeline of the user's own
            return f"\n{describe(read_results(report))}\n"
        return summary.read_text(encoding="utf-8")


def _begin(params: Params) -> Run:
    """Pin code and parameters, make the workspace, open the MLflow run."""
    from ganpipe.compute import resolve
    from ganpipe.data.sources import make_source, write_fingerprint

    logger = get_run_logger()
    repo = workspaces.repository()
    state = workspaces.state_folder(repo)
    uri = tracking.tracking_uri(state)
    tracking.check(uri)
    named = params.train.start
    params = checkpoints.resolve(resolve(params.anchored(repo)), repo)
    if params.train.start != named:
        logger.info(f"train.start={named} is {params.train.start}")
    os.environ["GANPIPE_STATE"] = str(state)  # where a source may keep what it downloads
    found = make_source(params.data).fingerprint()  # before anything is made for the run
    pin = workspaces.pin(repo)
    if pin.message():
        logger.warning(pin.message())
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:4]}"
    workspace = workspaces.create(repo, pin, params, run_id)
    write_fingerprint(found, workspace)
    logger.info(f"run {run_id} on {found['count']} files of {found['source']}, in {workspace}")
    identity = {key: value for key, value in lineage.identity(workspace, pin).items() if value}
    patch = lineage.patch(repo, pin)
    with tracking.named_outages(uri):
        mlflow_run = tracking.start_run(uri, state, run_id, params, identity)
        client = tracking.connect(uri)
        # Prefect's page may move to another port: its id is what finds the run again
        client.set_tag(mlflow_run, "ganpipe.prefect_flow_run", str(runtime.id))
        if patch:
            client.log_text(mlflow_run, patch, "lineage/uncommitted.patch")
    return Run(repo, workspace, params, pin, uri, mlflow_run)


def _run_stages(run: Run, forwarder: forwarding.HistoryForwarder) -> list[StageResult]:
    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "history":
            forwarder.follow(run.workspace / event["path"])

    results = []
    for name in STAGES:
        ended = stage(name, run.repo, run.workspace, on_event, return_state=True)
        results.append(ended.result())
        if name == "preprocess":
            _show_data(run)
        if name == "train":
            # replays the curves when the stage was cached
            forwarder.finish(run.workspace / "model" / "history.jsonl")
    return results


def _show_data(run: Run) -> None:
    """Show what is learnt from on the run's page in Prefect, before hours are spent on it."""
    if not (run.workspace / "data" / "report").is_dir():
        return  # a pipeline of the user's own
    try:
        create_markdown_artifact(
            data_markdown(run.workspace, run.mlflow_run),
            key="data",
            description="the images that this run learns from",
        )
    except httpx.HTTPError as error:
        get_run_logger().warning("Prefect does not show the data of this run: %s", error)


def _close(run: Run, status: Literal["FAILED", "KILLED"]) -> None:
    """Close the MLflow run of a run that goes down; its own problem matters more than MLflow's."""
    try:
        with tracking.named_outages(run.mlflow_uri):
            tracking.end_run(run.mlflow_uri, run.mlflow_run, status)
    except GanpipeError as error:
        get_run_logger().warning("MLflow run %s stays open: %s", run.mlflow_run, error.__cause__)


@task(name="register", task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def register_model(run: Run) -> Any:
    """Make the generator a model version (a Registration); the gate may make it champion."""
    try:
        with tracking.named_outages(run.mlflow_uri):
            # what the run was started with, not what params.yaml says by now
            asked = run.params.registration
            there = Place(run.repo, run.mlflow_uri, asked.model, asked, promotion_lock)
            registration = registry.register(
                run.mlflow_uri,
                run.mlflow_run,
                run.workspace,
                run.params,
                run.identity(),
                there.lock(),
                there.verify,
            )
    except GanpipeError as problem:
        return failed(problem)
    get_run_logger().info(
        f"{registration.model} version {registration.version} is {registration.alias}: "
        f"{registration.decision.reason}"
    )
    if not registration.reused:
        emit_registered(registration)
    if registration.move is not None:
        emit_move(registration.move)
    if asked.approval == "person":
        _ask(there, registration.version)
    return registration


def _ask(there: Place, number: str) -> None:
    """Ask a person about a candidate that waits for one; once for each time it came to wait."""
    problem = "has no deployment promote/on-demand, which `ganpipe deploy` makes"
    try:
        with tracking.named_outages(there.uri):
            version = registry.find(there.uri, number, there.model)
            decision = latest(tracking.connect(there.uri), there.model, number)
        if decision is None or decision.action != "waiting" or ask_person(version, decision):
            return
    except (httpx.HTTPError, GanpipeError) as error:
        problem = f"does not take the question ({error})"
    get_run_logger().warning(
        "register.approval=person, and this Prefect server %s: decide with `ganpipe promote %s "
        "--reason ...`, or start this run again, which asks again",
        problem,
        number,
    )


def _summarise(
    run: Run, registration: registry.Registration, results: list[StageResult], seconds: float
) -> Summary:
    metrics = read_results(run.workspace / "report")
    metric = metrics["protocol"]["metric"]
    return Summary(
        run_id=run.workspace.name,
        workspace=run.workspace,
        data=_data(run.workspace),
        metric=metric,
        value=float(metrics[metric]),
        floor=float(metrics[f"floor_{metric}"]),
        samples=run.workspace / "report" / "samples.png",
        model=registration.model,
        version=registration.version,
        alias=registration.alias,
        decision=registration.decision.reason,
        cached=[result.name for result in results if result.cached],
        seconds=seconds,
    )


def _data(workspace: Path) -> str:
    """What was learnt from, in one line; empty for a pipeline of the user's own."""
    path = workspace / "data" / "raw" / "raw.json"
    if not path.is_file():
        return ""
    raw = read_json(path)
    aside = raw["files"] - raw["count"]
    classes = len(raw["classes"])
    told = f"{classes} classes" if classes else f"no classes: {raw['unlabelled_because']}"
    splits = raw["splits"]
    return f"{splits['train']} to train on, {splits['test']} to test, {aside} set aside; {told}"


def _gate(registration: registry.Registration) -> str:
    """Each rule of the gate and what it found, as a section of the report."""
    if registration.move is None:
        return ""
    return f"\n## Gate\n\n{registry.markdown([registration.move])}"


def _report(run: Run, summary: Summary, told: str) -> None:
    """Show the summary on the run's page in Prefect: the version is registered without it."""
    try:
        with tracking.named_outages(run.mlflow_uri):
            text = _report_text(run, summary, told)
        create_markdown_artifact(text, key="report", description=summary.headline)
    except (GanpipeError, httpx.HTTPError) as error:
        get_run_logger().warning("Prefect shows no report of this run: %s", error)


def _report_text(run: Run, summary: Summary, told: str) -> str:
    facts = {
        "model version": f"{_version_link(run, summary)}, {summary.alias}",
        "gate": summary.decision,
        "data": summary.data,
        "started from": run.params.train.start,
        "commit": run.pin.commit,
        "from the cache": ", ".join(summary.cached) or "nothing",
        "time": f"{summary.seconds:.0f} s",
        "bring it into the checkout": f"`{summary.adopt_command}`",
        "MLflow run": _mlflow_link(run),
    }
    return report_markdown(run.workspace, f"Run {summary.run_id}", facts, told)


def _mlflow_link(run: Run) -> str:
    if not run.mlflow_uri.startswith("http"):
        return f"{run.mlflow_run} (`make ui` shows it)"
    found = tracking.connect(run.mlflow_uri).get_run(run.mlflow_run)
    page = f"experiments/{found.info.experiment_id}/runs/{run.mlflow_run}"
    return _link(run, run.mlflow_run, page)


def _version_link(run: Run, summary: Summary) -> str:
    name = f"{summary.model} {summary.version}"
    if not run.mlflow_uri.startswith("http"):
        return name
    return _link(run, name, f"models/{quote(summary.model)}/versions/{summary.version}")


def _link(run: Run, name: str, page: str) -> str:
    # MLflow opens with its pages for language models unless told otherwise
    return f"[{name}]({run.mlflow_uri.rstrip('/')}/#/{page}?workflowType=machine_learning)"
