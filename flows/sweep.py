"""The flow `sweep`: several trainings with other parameters, of which the best is registered."""

from __future__ import annotations

import json
import math
import socket
from typing import TYPE_CHECKING, Any, Literal

from prefect import flow, get_run_logger, tags
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from flows.artifacts import MarkdownInPlace
from flows.closing import close
from flows.diagnosis import failed_flow
from flows.pipeline import pipeline
from flows.retries import patiently
from flows.signature import typed
from flows.summary import Summary
from flows.sweep_frame import Frame, frame_of
from flows.tag import TAG
from flows.trial import FLOW_RUN_TAG, PARENT_TAG, Measured, numbered
from ganpipe import processes, sweeping, tracking
from ganpipe import workspace as workspaces
from ganpipe.collection import using_cache
from ganpipe.errors import GanpipeError
from ganpipe.params.sweep import SweepParams
from ganpipe.sweeping import Point, Sweep, Trial, applied, spelt

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAMED = 3


def run_name() -> str:
    """Like `sweep over train.lr, model.width`."""
    given = runtime.parameters.get("sweep") or {}
    over = dict(given).get("over") or SweepParams().over
    return f"sweep over {', '.join(over)}"


@flow(name="sweep", flow_run_name=run_name)
@typed
def sweep(sweep: SweepParams = SweepParams()) -> Any:  # noqa: B008 - frozen
    """Train with several values of some parameters; register the best generator.

    All other parameters are those of params.yaml. Only the best passes the gate. The same sweep
    started again goes on where it ended, and tries again what failed.
    """
    try:
        frame = frame_of(workspaces.repository(), sweep)
        # until the best is registered, no lock file that `ganpipe gc` knows names its bytes
        with using_cache(frame.state), sweeping.opened(frame.state, frame.digest) as record:
            ended = _run(frame, record)
    except GanpipeError as problem:
        return failed_flow(problem)
    if not ended.is_completed():
        return ended
    summary: Summary = ended.result()
    best = record.finished[0]
    told = f"the best of {len(record.finished)}: {spelt(best.tried)}; {summary.headline}"
    if record.failed:
        told += f"; {len(record.failed)} failed"
    return Completed(message=told, data=summary)


def _run(frame: Frame, record: Sweep) -> Any:
    """The state in which the registration of the best ended."""
    page = MarkdownInPlace("sweep")
    page.show(sweeping.markdown(record, frame.asked.count), "the sweep begins")
    patiently(lambda: _open_parent(frame, record))
    status: Literal["FINISHED", "FAILED", "KILLED"] = "KILLED"
    try:
        for number in range(frame.asked.count):
            if record.is_done(number):
                get_run_logger().info("trial %d was done before", number)
                continue
            tried = sweeping.point(frame.asked, record.before(number))
            record.add(_try(frame, record, number, tried))
            text = sweeping.markdown(record, frame.asked.count)
            page.show(text, text.partition("\n")[0].removeprefix("# "))
        patiently(lambda: _log_table(frame, record))
        ended = _register(frame, record)
        status = "FINISHED" if ended.is_completed() else "FAILED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        close(frame.uri, record.mlflow_run, status)
    return ended


def _try(frame: Frame, record: Sweep, number: int, tried: Point) -> Trial:
    """One trial, a flow run of its own; what it fails of is kept, and the sweep goes on."""
    with tags(TAG):
        ended: Any = numbered(number)(
            number,
            tried,
            frame.base.dump(),
            record.mlflow_run,
            frame.pin,
            frame.made.source,
            return_state=True,
        )
    if not ended.is_completed():
        return Trial(number, tried, problem=str(ended.message))
    found: Measured = ended.result()
    record.protocol = record.protocol or found.protocol
    if found.protocol != record.protocol:
        told = "it was measured by another protocol than the first: were there other images?"
        return Trial(number, tried, problem=told, run=found.run, mlflow_run=found.mlflow_run)
    if not math.isfinite(found.value):
        return Trial(number, tried, problem=f"its {found.metric} is {found.value}", run=found.run)
    return Trial(number, tried, found.value, found.metric, "", found.run, found.mlflow_run)


def _register(frame: Frame, record: Sweep) -> Any:
    """The best once more, from the cache: registered, and past the gate or not."""
    if not record.finished:
        told = [f"{spelt(each.tried)}: {each.problem}" for each in record.failed[:NAMED]]
        raise GanpipeError("\n".join([f"all {frame.asked.count} trainings failed, like", *told]))
    best = applied(frame.base, record.finished[0].tried)
    ended: Any = pipeline(best, frame.pin, frame.made.source)
    if not ended.is_completed():
        return ended
    patiently(lambda: _nest_best(frame, record, ended.result()))
    return ended


def _nest_best(frame: Frame, record: Sweep, best: Summary) -> None:
    """The runs that registered the best are nested in the sweep's, which names the version."""
    client = tracking.connect(frame.uri)
    with tracking.named_outages(frame.uri):
        parent = client.get_run(record.mlflow_run)
        own = f"tags.`{FLOW_RUN_TAG}` = '{runtime.id}'"
        for run in client.search_runs([parent.info.experiment_id], own):
            client.set_tag(run.info.run_id, PARENT_TAG, record.mlflow_run)
        version = f"models:/{best.model}/{best.version}"
        client.set_tag(record.mlflow_run, "ganpipe.model_version", version)


def _open_parent(frame: Frame, record: Sweep) -> None:
    """The MLflow run that all trials are nested in: a new one, or that of an earlier attempt."""
    client = tracking.connect(frame.uri)
    with tracking.named_outages(frame.uri):
        if record.mlflow_run and _is_there(client, record.mlflow_run):
            client.update_run(record.mlflow_run, status="RUNNING")
            mark = json.dumps(processes.own_mark())
            client.set_tag(record.mlflow_run, tracking.PROCESS_TAG, mark)
            client.set_tag(record.mlflow_run, tracking.HOST_TAG, socket.gethostname())
            return
        known = {"git_commit": frame.pin.commit, "sweep": record.path.stem}
        name = f"sweep over {', '.join(frame.asked.over)}"
        record.mlflow_run = tracking.start_run(frame.uri, frame.state, name, frame.base, known)
    record.save()


def _is_there(client: MlflowClient, run: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _log_table(frame: Frame, record: Sweep) -> None:
    client = tracking.connect(frame.uri)
    with tracking.named_outages(frame.uri):
        client.log_text(record.mlflow_run, sweeping.csv(record), "trials.csv")
