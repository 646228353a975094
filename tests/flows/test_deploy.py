"""`ganpipe deploy` on a real server: everything once, and what people edited there stays."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import emit_event

from flows import limits
from flows.deploy import WORKER_PYTHON
from flows.limits import limit_name
from flows.locks import LIMIT
from flows.slots import slot
from ganpipe import params
from ganpipe.errors import GanpipeError
from tests.flows.deployed import Deployed, deployed

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SCHEDULED = {
    "retrain/nightly": ("nightly", "0 2 * * *"),
    "watch/hourly": ("hourly", "30 * * * *"),
    "housekeeping/weekly": ("weekly", "0 5 * * 0"),
}


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("deploy"), repository_root) as made:
        made.first = made.deploy()
        yield made


@pytest.fixture
def client(there: Deployed) -> Iterator[SyncPrefectClient]:
    del there
    with get_client(sync_client=True) as found:
        yield found


def names(there: Deployed) -> list[str]:
    described = yaml.safe_load((there.made.folder / "infra/prefect.yaml").read_text())
    return [
        f"{each['entrypoint'].rpartition('.')[2]}/{each['name']}"
        for each in described["deployments"]
    ]


def set_in_file(there: Deployed, *assignments: str) -> None:
    file = there.made.folder / "params.yaml"
    params.write(params.override(params.load(file), list(assignments)), file)


def test_everything_is_there_once_and_nothing_starts_by_itself(
    there: Deployed, client: SyncPrefectClient
) -> None:
    assert [line for line in there.first if line.startswith("made ")]
    for name in names(there):
        found = client.read_deployment_by_name(name)
        assert found.description
        assert "--with-parent" in found.job_variables["command"]
        if name in SCHEDULED:
            (schedule,) = found.schedules
            assert (schedule.slug, schedule.schedule.cron) == SCHEDULED[name]
            assert schedule.schedule.timezone == "UTC"
            assert not schedule.active
    limit = client.read_global_concurrency_limit_by_name(limit_name("cpu"))
    assert (limit.limit, limit.active_slots) == (1, 0)
    before = {each.name: each.id for each in client.read_automations()}
    again = there.deploy()
    (left_out,) = again
    assert left_out.startswith("left out, since no block notifies: ")
    assert {each.name: each.id for each in client.read_automations()} == before
    assert "ganpipe asks for approval" not in before, "no block, nobody to tell"


def test_edited_defaults_stay_until_they_are_to_be_replaced(
    there: Deployed, client: SyncPrefectClient
) -> None:
    set_in_file(there, "train.kimg=7", "train.batch=32")
    there.deploy()
    form = client.read_deployment_by_name("train/on-demand")
    assert form.parameters["train"]["kimg"] == 7
    edited = {**form.parameters, "train": {**form.parameters["train"], "kimg": 500}}
    client.update_deployment(form.id, DeploymentUpdate(parameters=edited))
    set_in_file(there, "train.kimg=9", "train.batch=64")
    (told,) = [line for line in there.deploy() if "train.kimg" in line]
    assert told.startswith("kept train/on-demand train.kimg: 500 (edited on the server; here: 9")
    now = client.read_deployment_by_name("train/on-demand").parameters["train"]
    assert (now["kimg"], now["batch"]) == (500, 64), "other keys follow params.yaml"
    (told,) = [line for line in there.deploy(replace=True) if "train.kimg" in line]
    assert told == "replaced train/on-demand train.kimg: 9.0 (edited on the server: 500)"
    assert client.read_deployment_by_name("train/on-demand").parameters["train"]["kimg"] == 9
    assert not [line for line in there.deploy() if "train/on-demand" in line]


def test_forms_name_the_model_of_params_yaml(there: Deployed, client: SyncPrefectClient) -> None:
    for model in ("cats", "ganpipe"):
        set_in_file(there, f"register.model={model}")
        there.deploy()
        form = client.read_deployment_by_name("generate/on-demand").parameters["generate"]
        assert form["model"] == f"models:/{model}@champion"
        assert form["n"] == 64
        assert client.read_deployment_by_name("promote/on-demand").parameters["model"] == model


def test_a_default_that_only_the_server_has_stays(
    there: Deployed, client: SyncPrefectClient
) -> None:
    form = client.read_deployment_by_name("watch/hourly")
    client.update_deployment(form.id, DeploymentUpdate(parameters={"watch": {"least": 25}}))
    (told,) = [line for line in there.deploy() if "watch/hourly" in line]
    assert "kept watch/hourly watch.least: 25 (edited on the server; here: nothing" in told
    assert client.read_deployment_by_name("watch/hourly").parameters == {"watch": {"least": 25}}
    client.update_deployment(form.id, DeploymentUpdate(parameters={}))
    assert not [line for line in there.deploy() if "watch/hourly" in line]


def test_schedules_that_were_switched_on_edited_added_or_deleted_stay_so(
    there: Deployed, client: SyncPrefectClient
) -> None:
    name = "retrain/nightly"

    def schedules() -> set[tuple[str | None, str, bool]]:
        found = client.read_deployment_by_name(name).schedules
        return {(each.slug, each.schedule.cron, each.active) for each in found}

    nightly = client.read_deployment_by_name(name)
    client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True)
    noon = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 12 * * *"), active=True)
    client.create_deployment_schedules(nightly.id, [noon])
    (told,) = [line for line in there.deploy() if name in line]
    assert told.startswith(f"kept {name}: the schedule nightly.active: True (edited")
    assert schedules() == {("nightly", "0 2 * * *", True), (None, "0 12 * * *", True)}
    file = there.made.folder / "infra/prefect.yaml"
    file.write_text(file.read_text().replace("0 2 * * *", "0 3 * * *"))
    there.deploy()
    assert schedules() == {("nightly", "0 3 * * *", True), (None, "0 12 * * *", True)}
    (ours,) = [each for each in nightly.schedules if each.slug]
    client.delete_deployment_schedule(nightly.id, ours.id)
    assert any("here: 0 3 * * *" in line for line in there.deploy())
    assert schedules() == {(None, "0 12 * * *", True)}
    there.deploy(replace=True)
    assert schedules() == {("nightly", "0 3 * * *", False), (None, "0 12 * * *", True)}


def test_a_deployment_of_somebody_else_is_named_and_nothing_is_written(
    there: Deployed, client: SyncPrefectClient
) -> None:
    name = "watch/hourly"  # others come before it
    found = client.read_deployment_by_name(name)
    client.update_deployment(found.id, DeploymentUpdate(tags=["theirs"]))
    set_in_file(there, "train.kimg=11")
    with pytest.raises(GanpipeError, match=rf"a deployment {name} of somebody else.*tag ganpipe"):
        there.deploy()
    assert client.read_deployment_by_name("train/on-demand").parameters["train"]["kimg"] != 11
    client.update_deployment(found.id, DeploymentUpdate(tags=["ganpipe"]))
    there.deploy()
    assert client.read_deployment_by_name("train/on-demand").parameters["train"]["kimg"] == 11


def test_another_place_of_work_is_told_once(there: Deployed) -> None:
    folder, before = there.made.folder, there.env
    try:
        there.env = {**before, WORKER_PYTHON: "/on another machine/bin/python"}
        (told,) = [line for line in there.deploy() if "where runs work" in line]
    finally:
        there.env = before
    assert told == (
        f"replaced where runs work: in {folder} with /on another machine/bin/python "
        f"(before: in {folder} with {sys.executable})"
    )
    assert [line for line in there.deploy() if "where runs work" in line]
    assert not [line for line in there.deploy() if "where runs work" in line]


def test_long_parameters_are_deployed_and_edits_beside_them_told(
    there: Deployed, client: SyncPrefectClient
) -> None:
    names = [f"the class of number {number}" for number in range(1000)]
    set_in_file(there, f"data.expected_classes={json.dumps(names)}")
    there.deploy()
    form = client.read_deployment_by_name("train/on-demand").parameters
    assert form["data"]["expected_classes"] == names
    assert not [line for line in there.deploy() if "train/on-demand" in line]
    set_in_file(there, "data.expected_classes=[]")
    there.deploy()
    assert (
        client.read_deployment_by_name("train/on-demand").parameters["data"]["expected_classes"]
        == []
    )


def test_a_limit_of_another_size_stays_and_is_named(
    there: Deployed, client: SyncPrefectClient
) -> None:
    name = limit_name("cpu")
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=3))
    assert f"kept the limit {name}: 3 slots (this machine: 1 slot)" in there.deploy()
    assert f"replaced the limit {name}: 1 slot (was 3 slots)" in there.deploy(replace=True)
    assert client.read_global_concurrency_limit_by_name(name).limit == 1


@flow(flow_run_name="the holder")
def take(name: str) -> None:
    """As a lease that a server with leases in memory forgot: taken, and never given back."""
    with get_client(sync_client=True) as client:
        client.increment_concurrency_slots([name], 1, "concurrency")
        limit = client.read_global_concurrency_limit_by_name(name)
    resource = f"prefect.concurrency-limit.{limit.id}"
    emit_event(limits.ACQUIRED, {"prefect.resource.id": resource})


def test_a_slot_whose_holder_ended_long_ago_is_freed_and_no_other(
    there: Deployed, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PAGE", 2)
    name = "gpu:elsewhere"
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=2))

    take(name)
    take(LIMIT)  # which a command may hold by now, and no event would tell
    client.increment_concurrency_slots([name], 1, "concurrency")  # by somebody unknown
    time.sleep(limits.SECONDS_UNTIL_WRITTEN)
    assert limits.leaks(client) == [], "its lease might still live"
    monkeypatch.setattr(limits, "LEASE_SECONDS", -60.0)
    told = f"freed a slot of {name}, held by the flow run the holder, which has ended"
    assert told in there.deploy()
    assert client.read_global_concurrency_limit_by_name(name).active_slots == 1
    time.sleep(limits.SECONDS_UNTIL_WRITTEN)
    assert limits.leaks(client) == []
    assert client.read_global_concurrency_limit_by_name(LIMIT).active_slots == 1


def test_a_run_that_waits_for_a_slot_frees_those_of_the_dead(
    there: Deployed, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.deploy()
    name = limit_name("cpu")
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=1))
    take(name)
    time.sleep(limits.SECONDS_UNTIL_WRITTEN)
    monkeypatch.setattr(limits, "LEASE_SECONDS", -60.0)
    told: list[str] = []
    with slot("cpu", waits=told.append) as held:
        assert held
    assert told == [
        f"waits for a slot of {name}",
        f"freed a slot of {name}, held by the flow run the holder, which has ended",
    ]
