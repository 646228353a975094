"""The flow `promote`: another champion, by the gate alone or when a person has looked at both."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from prefect.runtime import flow_run as runtime
from prefect.states import Completed
from pydantic import Field

from flows.comparison import NARROW, WIDE, comparison
from flows.diagnosis import failed_flow
from flows.locks import promotion_lock
from flows.registry_events import emit_move
from flows.retries import patiently
from flows.signature import typed
from ganpipe import registry, tracking
from ganpipe.errors import GanpipeError
from ganpipe.params import RegisterParams
from ganpipe.registry import CANDIDATE, CHAMPION, PREVIOUS, Decision, Move
from ganpipe.registry.audit import answered, now
from ganpipe.registry.place import Place, open_place
from ganpipe.registry.promotion import refuse

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

DEPLOYMENT = "promote/on-demand"
MODEL, HOURS = RegisterParams().model, 72.0
ASKED = re.compile(r"version-(?P<version>\d+)-over-(?P<champion>\d+|none)")
AGAINST, REJECT = "approve against the gate", "reject"


class Approval(RunInput):
    """What a person decides; Prefect checks it before the flow goes on."""

    decision: Annotated[
        Literal["approve", "approve against the gate", "reject"],
        Field(title="decision", description="the version becomes champion, or stays what it is"),
    ]
    name: Annotated[
        str,
        Field(title="name", pattern=r"\S", max_length=100, description="who decides; is recorded"),
    ]
    reason: Annotated[
        str, Field(title="reason", pattern=r"\S", max_length=1000, description="is recorded too")
    ]


def open_registry(model: str) -> Place:
    """The registry of the checkout that a worker runs. Raises GanpipeError when it is down."""
    there = open_place(model, promotion_lock, emit_move)
    tracking.check(there.uri)
    return there


def _judge(there: Place, version: str) -> Decision:
    return registry.judge(there.uri, there.model, version, there.asked.gate, there.asked.margin)


def _decline(there: Place, version: str, by: str, reason: str) -> Move:
    """Put on record that a version was not promoted, with what the gate said of it."""
    client, decision = tracking.connect(there.uri), _judge(there, version)
    with there.lock():
        champion = _champion(there)
        told = Move("refused", there.model, version, champion, by, now(), reason, decision)
        return refuse(client, replace(told, request=runtime.id))


def _champion(there: Place) -> str:
    return registry.aliases(tracking.connect(there.uri), there.model).get(CHAMPION, "")


def run_name() -> str:
    """Like `promote ganpipe candidate`."""
    chosen = runtime.parameters
    model = chosen.get("model", MODEL)
    if chosen.get("action") == "rollback":
        return f"roll back {model}"
    return f"promote {model} {chosen.get('version', CANDIDATE)}"


@flow(name="promote", flow_run_name=run_name)
@typed
def promote(
    version: Annotated[str, Field(coerce_numbers_to_str=True)] = CANDIDATE,
    action: Literal["promote", "rollback"] = "promote",
    reason: str = "",
    model: str = MODEL,
    approval: Literal["auto", "person"] = "person",
    hours: Annotated[float, Field(gt=0, le=8760)] = HOURS,
) -> Any:
    """Make a version champion, or bring the previous champion back.

    Args:
        version: 3, an alias like candidate, or models:/NAME/3; a rollback takes the previous
            champion
        action: promote a version, or roll back to the previous champion
        reason: why; it is recorded, or shown to the person who decides
        model: name in the MLflow model registry
        approval: auto: the gate decides; person: a person does, who is shown both side by side
        hours: hours that it waits for a person; then nothing is promoted (above 0, at most 8,760)
    """

    def work() -> Move:
        there = open_registry(model)
        with tracking.named_outages(there.uri):
            return _move(there, version, action, reason, approval, hours)

    try:
        move = patiently(work)
    except GanpipeError as problem:
        return failed_flow(problem)
    told = f"{move.model} version {move.version} {move.action} by {move.by}: {move.reason}"
    get_run_logger().info(told)
    return Completed(name=move.action.capitalize(), message=told, data=move)


def _move(
    there: Place, version: str, action: str, reason: str, approval: str, hours: float
) -> Move:
    there.reconcile()  # what this run began before it was killed is completed
    if done := answered(tracking.connect(there.uri), there.model, runtime.id):
        return done
    found = registry.find(there.uri, PREVIOUS if action == "rollback" else version, there.model)
    if found.name != there.model:
        raise GanpipeError(
            f"version={version} is of another model than model={there.model}: set model to "
            f"{found.name} too"
        )
    number, champion = str(found.version), _champion(there)
    by, force = "", False
    if approval == "person" and number != champion:
        # what was shown is decided on: another version or champion is another question
        answer = _ask(there, number, champion, action, reason, hours)
        by, reason, force = answer.name, answer.reason, answer.decision == AGAINST
        if answer.decision == REJECT:
            return _decline(there, number, by, reason)
    asked = {"by": by, "against": champion, "request": runtime.id}
    if action == "rollback":
        return there.rollback(reason, **asked)
    return there.promote(number, reason, force=force, **asked)


def _ask(
    there: Place, version: str, champion: str, action: str, reason: str, hours: float
) -> Approval:
    """A person's decision. The first time this ends the process; it runs again when resumed."""
    if deployment.id is None:
        raise GanpipeError(
            f"approval=person waits without a process, which needs a deployment: run {DEPLOYMENT} "
            "(`ganpipe deploy` puts it on the server), or set approval=auto"
        )
    key = f"version-{version}-over-{champion or 'none'}"
    form: type[Approval] = Approval
    if key not in _asked():
        shown = registry.find(there.uri, version, there.model)
        other = registry.find(there.uri, champion, there.model) if champion else None
        decision, missing = _judge(there, version), there.verify(shown)
        title = f"{'Roll back to' if action == 'rollback' else 'Promote'} {there.model} version "
        title += f"{version}?"
        page, narrow = (
            f"{level} {title}\n\n"
            f"{comparison(there.uri, shown, other, decision, missing, reason, width)}"
            for level, width in (("#", WIDE), ("####", NARROW))
        )
        create_markdown_artifact(page, key="comparison", description=title)
        form = Approval.with_initial_data(description=narrow)
    get_run_logger().info(
        "waiting up to %g hours, without a process: look at the artifact `comparison` of this run, "
        "then press Resume and decide",
        hours,
    )
    return suspend_flow_run(wait_for_input=form, key=key, timeout=round(hours * 3600))


def _asked() -> set[str]:
    """What this run has asked before."""
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(runtime.id))
    return set(found.empirical_policy.pause_keys or ())


@flow(name="undecided", flow_run_name="record {flow_run}")
@typed
def undecided(flow_run: UUID) -> Any:
    """Record that a promotion which waited for a person was not decided.

    Prefect ends such a run without running its code, when its time is over or it is cancelled,
    and starts this one (infra/automations.yaml).
    """
    with get_client(sync_client=True) as client:
        ended = client.read_flow_run(flow_run)
        states = client.read_flow_run_states(flow_run)
    waited = [state for state in states if not (state.is_final() or state.is_cancelling())]
    key = waited[-1].state_details.pause_key if waited and waited[-1].is_paused() else None
    asked = ASKED.fullmatch(key or "")
    if asked is None:
        return Completed(message="it was not waiting for a person: nothing to record")
    cancelled = ended.state is not None and ended.state.is_cancelled()
    why = "it was cancelled before anybody decided" if cancelled else "nobody decided in time"
    model, reason = str(ended.parameters.get("model", MODEL)), f"{why} (flow run {ended.name})"
    try:
        told = patiently(lambda: _undecided(model, asked["version"], reason))
    except GanpipeError as problem:
        return failed_flow(problem)
    return Completed(message=told)


def _undecided(model: str, version: str, reason: str) -> str:
    there = open_registry(model)
    with tracking.named_outages(there.uri):
        there.reconcile()
        move = answered(tracking.connect(there.uri), model, runtime.id)
        if move is None and version == _champion(there):
            return f"{model} version {version} is champion by now: nothing to record"
        move = move or _decline(there, version, by="nobody", reason=reason)
    return f"{model} version {version} was not promoted: {move.reason}"


def ask_person(version: ModelVersion, waiting: Move) -> UUID | None:
    """Start promote/on-demand for a version that waits since that decision of the gate.

    Once for each decision. None where the server does not have the deployment.
    """
    from prefect.deployments import run_deployment

    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            return None
    run: Any = run_deployment(  # a coroutine only where a loop runs
        DEPLOYMENT,
        parameters={
            "version": str(version.version),
            "model": version.name,
            "reason": waiting.reason,
            "approval": "person",
        },
        timeout=0,
        as_subflow=False,
        # a cached run finds the same version waiting, and a question is asked once
        idempotency_key=f"{version.name}/{version.version}/{waiting.at}",
    )
    return UUID(str(run.id))
