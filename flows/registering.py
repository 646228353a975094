"""A run's generator becomes a model version; whoever must decide or know is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.beginning import Run
from flows.promote import ask_person, open_registry
from flows.registry_events import emit_move, emit_registered
from flows.retries import patiently
from flows.stage import failed
from ganpipe import registry, tracking
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


@task(name="register", task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def register_model(run: Run) -> Any:
    """Make the generator a model version (a Registration); the gate may make it champion."""
    try:
        registration, version = patiently(lambda: _registered(run))
    except GanpipeError as problem:
        return failed(problem)
    get_run_logger().info(
        f"{registration.model} version {registration.version} is {registration.alias}: "
        f"{registration.decision.reason}"
    )
    _tell(registration, version)
    return registration


def _registered(run: Run) -> tuple[registry.Registration, ModelVersion]:
    with tracking.named_outages(run.mlflow_uri):
        there = open_registry(run.params.registration.model)
        registration = registry.register(
            run.mlflow_uri,
            run.mlflow_run,
            run.workspace,
            run.params,
            run.identity(),
            there.lock(),
            there.verify,
        )
        return registration, registry.find(there.uri, registration.version, there.model)


def _tell(registration: registry.Registration, version: ModelVersion) -> None:
    """Let automations know; where a person has the word, ask."""
    if not registration.reused:
        emit_registered(registration)
    move = registration.move
    if move is None:
        return
    emit_move(move)
    if move.action == "waiting" and ask_person(version, move.reason) is None:
        get_run_logger().warning(
            "register.approval=person, and this Prefect server has no deployment promote/on-demand "
            "to ask with: decide with `ganpipe promote %s --reason ...`, or run `ganpipe deploy`",
            version.version,
        )
