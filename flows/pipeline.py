"""A run from images to a registered generator: stages, records, registration, report."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from prefect import get_run_logger
from prefect.states import Completed

from flows import cost
from flows.beginning import Run, begin
from flows.diagnosis import show_diagnosis, tell_recovered
from flows.dvc_stage import is_cached
from flows.registering import register_model
from flows.retries import patiently
from flows.run_page import RunPage, show_data
from flows.slots import slot
from flows.stage import STAGES, StageResult, TimeLimit, stage
from flows.summary import gate, show_report, summarise
from ganpipe import forwarding, registry, tracking
from ganpipe import workspace as workspaces
from ganpipe.champion import beside_champion
from ganpipe.collection import using_cache
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.report import SUMMARY
from ganpipe.evaluation.results import read_results
from ganpipe.params import Params
from ganpipe.registry.headline import describe


def pipeline(params: Params) -> Any:
    """Run to a Completed state whose result is a Summary; call it in a flow's main thread.

    A flow run that is tried again goes on where it was. Raises GanpipeError, the diagnosis on the
    run's page; TimeLimit where compute.hours are over.
    """
    began = time.monotonic()
    # until it is registered, no lock file that `ganpipe gc` knows names its bytes
    with using_cache(workspaces.state_folder(workspaces.repository())):
        try:
            run = begin(params)
        except Exception as problem:
            show_diagnosis(problem, None, "", None)
            raise
        page = RunPage(run)
        forwarder = forwarding.HistoryForwarder(run.mlflow_uri, run.mlflow_run)
        try:
            results = _run_stages(run, page, forwarder)
            page.tell("record", "runs")
            told = patiently(lambda: _log_report(run))
            page.tell("record", "in MLflow")
            registration = _register(run, page)
        except BaseException as problem:
            forwarder.stop()
            page.tell(page.stage, "not finished")
            _close(run, "FAILED" if isinstance(problem, Exception) else "KILLED")
            if isinstance(problem, Exception):
                show_diagnosis(problem, run, page.stage, page.training)
            raise
        summary = summarise(run, registration, results, time.monotonic() - began)
        show_report(run, page, summary, told + gate(registration))
        tell_recovered()
        return Completed(message=summary.headline, data=summary)


def _run_stages(
    run: Run, page: RunPage, forwarder: forwarding.HistoryForwarder
) -> list[StageResult]:
    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "history":
            forwarder.follow(run.workspace / event["path"])
        page.on_event(event)

    results: list[StageResult] = []
    left = run.params.compute.hours * 3600 or math.inf
    for name in STAGES:
        if left <= 0:
            raise TimeLimit.of(name)
        with _device(run, page, name):
            page.tell(name, "runs")
            began = time.monotonic()
            ended = stage(name, run.repo, run.workspace, on_event, left, return_state=True)
            if not ended.is_completed() or not ended.result().cached:
                seconds = time.monotonic() - began
                left -= seconds
                cost.spend(run.workspace, run.params, name, seconds)
            result: StageResult = ended.result()
        page.ended(name)
        if name == "preprocess":
            show_data(run)
        if name == "train":
            # replays the curves when the stage was cached
            history = run.workspace / "model" / "history.jsonl"
            patiently(partial(forwarder.finish, history))
        page.tell(name, "from the cache" if result.cached else f"{result.seconds:.0f} s")
        results.append(result)
    return results


def _device(run: Run, page: RunPage, name: str) -> AbstractContextManager[None]:
    """A slot of the device that a stage computes on, for as long as it does."""
    device = cost.device(run.params, name)
    if not device:
        return nullcontext()
    kind: Literal["gpu", "cpu"] = "gpu" if device == "cuda" else "cpu"
    env = workspaces.environment(run.repo, run.workspace)
    needless = partial(is_cached, name, run.workspace, env)
    return slot(kind, needless, waits=partial(page.tell, name))


def _log_report(run: Run) -> str:
    """Send the report to MLflow, beside the champion's numbers; returns its summary."""
    report = run.workspace / "report"
    with (
        tracking.named_outages(run.mlflow_uri),
        TemporaryDirectory(prefix="ganpipe-report-") as folder,
    ):
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


def _register(run: Run, page: RunPage) -> registry.Registration:
    page.tell("register", "runs")
    registration: registry.Registration = register_model(run, return_state=True).result()
    page.tell_version(run.version_link(registration.model, registration.version))
    with tracking.named_outages(run.mlflow_uri):
        tracking.end_run(run.mlflow_uri, run.mlflow_run, "FINISHED")
    page.tell("register", f"version {registration.version} is {registration.alias}")
    return registration


def _close(run: Run, status: Literal["FAILED", "KILLED"]) -> None:
    """Close the MLflow run of a run that goes down; its own problem matters more than MLflow's."""
    try:
        with tracking.named_outages(run.mlflow_uri):
            tracking.end_run(run.mlflow_uri, run.mlflow_run, status)
    except GanpipeError as error:
        get_run_logger().warning("MLflow run %s stays open: %s", run.mlflow_run, error.__cause__)
