"""A real training that is killed, cancelled and cut short; images and aliases that change."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.states import Cancelling

from flows.prefect_server import command
from flows.services import free_port
from ganpipe import registry, tracking
from ganpipe.registry import CHAMPION
from tests.drift.world import digits, inverted, unseen
from tests.flows.deployed import wait_for
from tests.flows.real import MlflowServer, Real, real
from tests.service.running import serve

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1200)]

SOON = 15.0  # seconds until no process of a run is left
MINUTE = 60.0
OUTAGE = 15.0  # seconds
ATTEMPTS = 8  # that a run gets whose time is always over
WATCH = """
import sys
from flows.server import _registry_watched
with _registry_watched():
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def there(
    tmp_path_factory: pytest.TempPathFactory, repository_root: Path, mlflow_server: MlflowServer
) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("real")
    with real(folder, repository_root, mlflow_server, free_port()) as made:
        yield made


@pytest.fixture(scope="module")
def first(there: Real) -> UUID:
    """A run that nothing disturbs: version 1, the champion."""
    with there.worker():
        run = there.start("train/on-demand")
        assert "ganpipe version 1 is champion" in told(over(there, run))
    return run


@pytest.fixture(scope="module")
def undisturbed(there: Real, first: UUID) -> dict[str, bytes]:
    return there.outputs(first)


def over(there: Real, run: UUID, seconds: float = 400) -> FlowRun:
    return there.wait(run, lambda each: bool(each.state and each.state.is_final()), seconds)


def name(run: FlowRun) -> str:
    return str(run.state.name) if run.state is not None else ""


def told(run: FlowRun) -> str:
    return f"{name(run)}: {run.state.message if run.state is not None else ''}"


def wait_until_trained(there: Real, more: int, seconds: float = 300) -> int:
    """Wait for states of more images than that; the images of the newest."""
    wait_for(lambda: there.trained() > more, seconds, there.trained)
    return there.trained()


def wait_for_silence(there: Real) -> None:
    assert wait_for(lambda: not there.processes(), 60, there.processes) < SOON


def points(there: Real, run: UUID) -> dict[str, list[tuple[int, float]]]:
    """Of each metric, step and value of every point that the last attempt of a run recorded."""
    client = tracking.connect(there.records.address)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    mine = f"tags.`ganpipe.prefect_flow_run` = '{run}'"
    last, *_ = client.search_runs(
        [experiment.experiment_id], mine, order_by=["attributes.start_time DESC"]
    )
    return {
        key: [(each.step, each.value) for each in client.get_metric_history(last.info.run_id, key)]
        for key in last.data.metrics
    }


def test_a_killed_worker_and_an_mlflow_that_was_down_change_no_byte_and_lose_no_point(
    there: Real, undisturbed: dict[str, bytes]
) -> None:
    there.forget_training()
    with there.worker() as worker:
        run = there.start("train/on-demand")
        wait_until_trained(there, 10_000)
        worker.kill()
        wait_for_silence(there)
    with there.worker():
        before = wait_until_trained(there, there.trained())
        with there.records.away():
            wait_until_trained(there, before + 8000)
            time.sleep(OUTAGE)
        ended = over(there, run)
    assert ended.run_count == 2
    # the registry takes what has the same weights, measures and lock for the same version
    assert told(ended).endswith("ganpipe version 1 is champion")
    assert there.outputs(run) == undisturbed
    expected: dict[str, list[tuple[int, float]]] = {}
    lines = (there.workspace(run) / "model" / "history.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        for key, value in line.items():
            if key not in ("images", "kimg") and isinstance(value, (int, float)):
                expected.setdefault(key, []).append((line["images"], value))
    assert len(expected["loss_generator"]) >= 60
    found = points(there, run)
    assert {key: found.get(key) for key in expected} == expected


def retry(there: Real, run: UUID) -> None:
    asked = command("flow-run", "retry", str(run))
    subprocess.run(asked, env=there.env, cwd=there.code.folder, check=True, capture_output=True)


def hours(run: UUID) -> float:
    """How long the stage `train` of a run took."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    with get_client(sync_client=True) as client:
        (train,) = (
            each for each in client.read_task_runs(flow_run_filter=mine) if each.name == "train"
        )
    return train.total_run_time.total_seconds() / 3600


def test_a_run_whose_time_was_over_and_that_was_cancelled_goes_on_to_the_same_bytes(
    there: Real, first: UUID, undisturbed: dict[str, bytes]
) -> None:
    there.forget_training()
    with there.worker():
        run = there.start("train/on-demand", compute={"hours": 0.7 * hours(first)})
        ended = over(there, run)
        assert name(ended) == "TimeLimit"
        assert "compute.hours are over: the stage train is not finished" in told(ended)
        assert "train" not in there.locked(run)
        assert there.taken() == []
        assert not (there.workspace(run) / "model").exists()
        before = there.trained()
        assert 0 < before < 60_000

        retry(there, run)
        there.wait(run, lambda each: name(each) == "Running")
        wait_until_trained(there, before)
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run, Cancelling())
        wait_for_silence(there)
        there.wait(run, lambda each: name(each) == "Cancelled", 30)
        assert "train" not in there.locked(run)
        assert there.taken() == []

        attempts = 0
        while name(ended) != "Completed" and attempts < ATTEMPTS:
            retry(there, run)
            there.wait(run, lambda each: name(each) == "Running")
            ended = over(there, run)
            attempts += 1
    assert there.outputs(run) == undisturbed
    assert len(there.taken()) == 1


def retrainings(there: Real) -> list[FlowRun]:
    del there
    nightly = DeploymentFilter(name=DeploymentFilterName(any_=["nightly"]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(deployment_filter=nightly)


@pytest.fixture(scope="module")
def drifted(there: Real, undisturbed: dict[str, bytes]) -> tuple[FlowRun, FlowRun]:
    """The champion's folder holds images that differ: the watch, and what it led to."""
    del undisturbed
    images = there.code.folder.parent / "images"
    shutil.rmtree(images)
    digits(images, unseen(1, 300), inverted)
    with there.worker():
        watch = over(there, there.start("watch/hourly"))
        wait_for(lambda: len(retrainings(there)) == 1)
        return watch, over(there, retrainings(there)[0].id)


def test_drift_leads_to_a_retraining_by_itself(drifted: tuple[FlowRun, FlowRun]) -> None:
    watch, retraining = drifted
    assert told(watch).startswith("Drift: drift from ganpipe version 1: kid_classifier")
    assert retraining.created_by is not None
    assert retraining.created_by.type == "AUTOMATION"
    assert retraining.created_by.display_value == "ganpipe retrain on drift"
    assert "ganpipe version 2 is" in told(retraining)


def events(wanted: str) -> list[dict[str, Any]]:
    asked = EventFilter(event=EventNameFilter(name=[wanted]))
    with get_client(sync_client=True) as client:
        return [each.payload for each in client.read_events(asked, limit=50).events]


@contextmanager
def registry_watched(there: Real) -> Iterator[None]:
    """As `make ui` watches it; Prefect knows its server only by the environment of a process."""
    asked = [sys.executable, "-c", WATCH]
    watch = subprocess.Popen(asked, cwd=there.code.folder, env=there.env, stdin=subprocess.PIPE)
    try:
        yield
        watch.communicate(timeout=60)
    finally:
        watch.kill()
        watch.wait()


def test_an_alias_moved_by_hand_is_told_recorded_and_served_within_a_minute(
    there: Real, drifted: tuple[FlowRun, FlowRun]
) -> None:
    del drifted
    uri = there.records.address
    champion = registry.aliases(tracking.connect(uri), "ganpipe")[CHAMPION]
    other = {"1": "2", "2": "1"}[champion]
    model = ("--model", f"models:/ganpipe@{CHAMPION}")
    with serve(there.state / "service", uri, *model) as service, registry_watched(there):

        def noticed() -> bool:
            promoted = [
                (each["action"], each["version"], each["previous"])
                for each in events("ganpipe.model.promoted")
            ]
            return (
                registry.history(uri, "ganpipe")[-1].action == "by-hand"
                and ("by-hand", other, champion) in promoted
                and service.health()["version"] == other
            )

        assert service.health()["version"] == champion
        moved = {"name": "ganpipe", "alias": CHAMPION, "version": other}
        url = f"{uri}/api/2.0/mlflow/registered-models/alias"
        httpx.post(url, json=moved, trust_env=False).raise_for_status()
        wait_for(noticed, MINUTE, service.health)
    assert registry.aliases(tracking.connect(uri), "ganpipe")[registry.PREVIOUS] == champion
