"""The flow `trial`: one training of a sweep, measured and not registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import flow
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from flows.beginning import Run, begin
from flows.diagnosis import show_diagnosis
from flows.pipeline import _close, _log_report, _run_stages
from flows.retries import patiently
from flows.run_page import RunPage
from flows.stage import failed
from ganpipe import forwarding, tracking
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import read_results
from ganpipe.params import Params
from ganpipe.retraining import of_checkout
from ganpipe.sweeping import Point, applied, spelt

FLOW_RUN_TAG, PARENT_TAG = "ganpipe.prefect_flow_run", "mlflow.parentRunId"


@dataclass(frozen=True)
class Measured:
    """What a trial came to."""

    metric: str
    value: float
    protocol: dict[str, Any]
    run: str
    mlflow_run: str


def run_name() -> str:
    """Like `trial 3: train.lr=0.002`."""
    given = runtime.parameters
    return f"trial {given['number']}: {spelt(given['tried'])}"


@flow(name="trial", flow_run_name=run_name, persist_result=False)
def trial(
    number: int, tried: Point, params: dict[str, Any], parent: str, code: dict[str, str]
) -> Any:
    """Train with `params` but for what is `tried`, and measure.

    Args:
        number: of the trial in its sweep
        tried: section.key to value
        params: all other parameters
        parent: the sweep's run in MLflow
        code: path to hash of what the sweep's stages depend on
    """
    del number  # it is told by the name
    try:
        return _measure(applied(Params.model_validate(params), tried), parent, code)
    except GanpipeError as problem:
        return failed(problem)


def _measure(params: Params, parent: str, code: dict[str, str]) -> Any:
    """Run to a Completed state whose result is a Measured."""
    try:
        run = begin(params)
    except Exception as problem:
        show_diagnosis(problem, None, "", None)
        raise
    page = RunPage(run)
    forwarder = forwarding.HistoryForwarder(run.mlflow_uri, run.mlflow_run)
    try:
        patiently(lambda: _nest(run, parent))
        _check_code(run, code)
        _run_stages(run, page, forwarder)
        patiently(lambda: _log_report(run))
        with tracking.named_outages(run.mlflow_uri):
            tracking.end_run(run.mlflow_uri, run.mlflow_run, "FINISHED")
    except BaseException as problem:
        forwarder.stop()
        _close(run, "FAILED" if isinstance(problem, Exception) else "KILLED")
        if isinstance(problem, Exception):
            show_diagnosis(problem, run, page.stage, page.training)
        raise
    numbers = read_results(run.workspace / "report")
    metric = numbers["protocol"]["metric"]
    found = Measured(
        metric, float(numbers[metric]), numbers["protocol"], run.workspace.name, run.mlflow_run
    )
    return Completed(message=f"{metric} {found.value:.4g}", data=found)


def _nest(run: Run, parent: str) -> None:
    with tracking.named_outages(run.mlflow_uri):
        tracking.connect(run.mlflow_uri).set_tag(run.mlflow_run, PARENT_TAG, parent)


def _check_code(run: Run, code: dict[str, str]) -> None:
    """Raise GanpipeError where somebody edited what stages run since the sweep began."""
    now = of_checkout(run.repo, run.pin.commit, run.params, {}).code
    if other := sorted(
        path for path in now.keys() | code.keys() if now.get(path) != code.get(path)
    ):
        raise GanpipeError(
            f"{', '.join(other)} changed since the sweep began, so distances would not compare: "
            "start the sweep again"
        )
