"""A run under way, from images to a measured generator: what `pipeline` and `trial` share."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from flows import cost, gpus
from flows.beginning import Run, begin
from flows.closing import close
from flows.diagnosis import show_diagnosis
from flows.dvc_stage import is_cached
from flows.retries import patiently
from flows.run_page import RunPage, show_data
from flows.slots import slot
from flows.stage import STAGES, StageResult, TimeLimit, stage
from ganpipe import tracking
from ganpipe import workspace as workspaces
from ganpipe.champion import beside_champion
from ganpipe.evaluation.report import SUMMARY
from ganpipe.evaluation.results import read_results
from ganpipe.forwarding import HistoryForwarder
from ganpipe.params import Params
from ganpipe.registry.headline import describe
from ganpipe.workspace import Pin


@dataclass(frozen=True)
class UnderWay:
    """A run, its page in Prefect, and what sends its curves to MLflow."""

    run: Run
    page: RunPage
    forwarder: HistoryForwarder


@contextmanager
def under_way(
    params: Params, pin: Pin | None = None, found: dict[str, Any] | None = None
) -> Iterator[UnderWay]:
    """Begin a run as `begin` does; call it in a flow's main thread.

    What goes wrong is told as the diagnosis on the run's page, its MLflow run is closed, and the
    exception goes on. After a good end, it is closed by whoever has the last to record in it.
    """
    try:
        run = begin(params, pin, found)
    except Exception as problem:
        show_diagnosis(problem, None, "", None)
        raise
    page = RunPage(run)
    forwarder = HistoryForwarder(run.mlflow_uri, run.mlflow_run)
    try:
        yield UnderWay(run, page, forwarder)
    except BaseException as problem:
        forwarder.stop()
        if page.stage:
            page.tell(page.stage, "not finished")
        died = not isinstance(problem, Exception)
        close(run.mlflow_uri, run.mlflow_run, "KILLED" if died else "FAILED")
        if isinstance(problem, Exception):
            show_diagnosis(problem, run, page.stage, page.training)
        raise


def run_stages(way: UnderWay) -> list[StageResult]:
    """All stages. Raises GanpipeError as they do, and TimeLimit where compute.hours are over."""
    run, page, forwarder = way.run, way.page, way.forwarder

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "history":
            forwarder.follow(run.workspace / event["path"])
        page.on_event(event)

    results: list[StageResult] = []
    left = run.params.compute.hours * 3600 or math.inf
    for name in STAGES:
        if left <= 0:
            raise TimeLimit.of(name)
        with _device(run, page, name) as env:
            page.tell(name, "runs")
            began, cached = time.monotonic(), False
            try:
                ended = stage(name, run.repo, run.workspace, on_event, left, env, return_state=True)
                result: StageResult = ended.result()
                cached = result.cached
            finally:  # a cancelled one took its device too
                if not cached:
                    seconds = time.monotonic() - began
                    left -= seconds
                    cost.spend(run.workspace, run.params, name, seconds)
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


@contextmanager
def _device(run: Run, page: RunPage, name: str) -> Iterator[dict[str, str]]:
    """Devices that a stage computes on, for as long as it does: variables that name them."""
    device, devices = cost.device(run.params, name), cost.devices(run.params, name)
    if not device:
        yield {}
        return
    kind: Literal["gpu", "cpu"] = "gpu" if device == "cuda" else "cpu"
    env = workspaces.environment(run.repo, run.workspace)
    needless = partial(is_cached, name, run.workspace, env)
    waits = partial(page.tell, name)
    with slot(kind, devices, needless, waits) as held:
        if kind == "cpu" or not held:
            yield {}
            return
        state = workspaces.state_folder(run.repo)
        with gpus.own(state, gpus.visible(), devices, waits) as chosen:
            yield chosen


def log_report(run: Run) -> str:
    """Send the report to MLflow, beside the champion's numbers; returns its summary."""
    report = run.workspace / "report"
    with (
        tracking.named_outages(run.mlflow_uri),
        TemporaryDirectory(prefix="ganpipe-report-") as folder,
    ):
        beside, model = Path(folder), run.params.registration.model
        who = beside_champion(run.mlflow_uri, model, report, beside)
        tracking.log_report(run.mlflow_uri, run.mlflow_run, run.workspace, beside)
        summary = (beside if who else report) / SUMMARY
        if not summary.is_file():  # a pipeline of the user's own
            return f"\n{describe(read_results(report))}\n"
        return summary.read_text(encoding="utf-8")
