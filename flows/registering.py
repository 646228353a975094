"""A run's generator becomes a model version; whoever must decide or know is told."""

from __future__ import annotations

from typing import Any

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows.beginning import Run
from flows.locks import promotion_lock
from flows.promote import ask_person
from flows.registry_events import emit_move, emit_registered
from flows.retries import patiently
from flows.stage import failed
from ganpipe import registry, tracking
from ganpipe.errors import GanpipeError
from ganpipe.registry.audit import latest, now
from ganpipe.registry.place import Place

TOLD = "ganpipe.told"  # tag of a version: when the event of its registration was emitted


@task(name="register", task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def register_model(run: Run) -> Any:
    """Make the generator a model version (a Registration); the gate may make it champion."""
    # what the run was started with, not what params.yaml says by now
    asked = run.params.registration
    there = Place(run.repo, run.mlflow_uri, asked.model, asked, promotion_lock)
    try:
        registration = patiently(lambda: _registered(run, there))
        if not patiently(lambda: _is_told(registration, there)):
            emit_registered(registration)
            patiently(lambda: _note_told(registration, there))
    except GanpipeError as problem:
        return failed(problem)
    get_run_logger().info(
        f"{registration.model} version {registration.version} is {registration.alias}: "
        f"{registration.decision.reason}"
    )
    if asked.approval == "person":
        _ask(there, registration.version)
    return registration


def _registered(run: Run, there: Place) -> registry.Registration:
    with tracking.named_outages(run.mlflow_uri):
        return registry.register(
            run.mlflow_uri,
            run.mlflow_run,
            run.workspace,
            run.params,
            run.identity(),
            there.lock,
            there.verify,
            emit_move,
        )


def _is_told(registration: registry.Registration, there: Place) -> bool:
    """Whether the event of this version was emitted, by whichever attempt made the version."""
    with tracking.named_outages(there.uri):
        client = tracking.connect(there.uri)
        return TOLD in client.get_model_version(registration.model, registration.version).tags


def _note_told(registration: registry.Registration, there: Place) -> None:
    """After the event: a run that is killed in between tells it again, none keeps it to itself."""
    with tracking.named_outages(there.uri):
        client = tracking.connect(there.uri)
        client.set_model_version_tag(registration.model, registration.version, TOLD, now())


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
