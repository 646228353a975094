"""The flow `trial`: one training of a sweep, measured and not registered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import Any

from prefect import Flow, flow
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from flows.closing import close
from flows.retries import patiently
from flows.signature import typed
from flows.stage import failed
from flows.under_way import log_report, run_stages, under_way
from ganpipe import tracking
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import read_results
from ganpipe.params import Params
from ganpipe.sweeping import Point, applied, spelt
from ganpipe.workspace import Pin

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


def numbered(number: int) -> Flow[..., Any]:
    """The flow `trial` of one number, whose run a sweep that is tried again finds by it.

    Prefect finds a sub-flow's earlier run by its function's name and by how often that was called:
    a sweep that goes on does not call those that are done.
    """

    @wraps(trial)
    def function(*given: Any, **named: Any) -> Any:
        return trial(*given, **named)

    function.__qualname__ = f"trial-{number}"
    return flow(name="trial", flow_run_name=run_name, persist_result=False)(function)


@typed
def trial(
    number: int,
    tried: Point,
    params: dict[str, Any],
    parent: str,
    pin: Pin,
    found: dict[str, Any],
) -> Any:
    """Train with `params` but for what is `tried`, and measure.

    Args:
        number: of the trial in its sweep
        tried: section.key to value
        params: all other parameters
        parent: the sweep's run in MLflow
        pin: the sweep's code
        found: the fingerprint of the sweep's images
    """
    del number  # it is told by the name
    try:
        return _measure(applied(Params.model_validate(params), tried), parent, pin, found)
    except GanpipeError as problem:
        return failed(problem)


def _measure(params: Params, parent: str, pin: Pin, found: dict[str, Any]) -> Any:
    """Run to a Completed state whose result is a Measured."""
    with under_way(params, pin, found) as way:
        run = way.run
        patiently(lambda: _nest(run.mlflow_uri, run.mlflow_run, parent))
        run_stages(way)
        patiently(lambda: log_report(run))
        close(run.mlflow_uri, run.mlflow_run, "FINISHED")
    numbers = read_results(run.workspace / "report")
    protocol = numbers["protocol"]
    metric = protocol["metric"]
    value = float(numbers[metric])
    measured = Measured(metric, value, protocol, run.workspace.name, run.mlflow_run)
    return Completed(message=f"{metric} {value:.4g}", data=measured)


def _nest(uri: str, run: str, parent: str) -> None:
    with tracking.named_outages(uri):
        tracking.connect(uri).set_tag(run, PARENT_TAG, parent)
