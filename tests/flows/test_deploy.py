"""`ganpipe deploy` on a real server: everything once, and what people edited there stays."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import timedelta
from pathlib import Path
from typing import Any

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
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events import emit_event

from flows import limits
from flows.deploy import WORKER_PYTHON
from flows.lease import ACQUIRED, SLOTS
from flows.limits import limit_name
from flows.locks import LIMIT
from flows.slots import slot
from ganpipe import params
from ganpipe.errors import GanpipeError
from tests.flows.deployed import Deployed, deployed, wait_for

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


def test_a_schedule_that_was_made_an_interval_stays_one(
    there: Deployed, client: SyncPrefectClient
) -> None:
    name = "watch/hourly"

    def schedule() -> DeploymentSchedule:
        (found,) = client.read_deployment_by_name(name).schedules
        return found

    every = IntervalSchedule(interval=timedelta(minutes=20))
    deployment, active = client.read_deployment_by_name(name).id, schedule().active
    client.update_deployment_schedule(deployment, schedule().id, schedule=every)
    assert any(f"kept {name}: the schedule hourly.cron" in line for line in there.deploy())
    file = there.made.folder / "infra/prefect.yaml"
    before = file.read_text()
    described = yaml.safe_load(before)
    (found,) = [each for each in described["deployments"] if each["name"] == "hourly"]
    found["schedules"][0]["active"] = not active
    file.write_text(yaml.safe_dump(described, sort_keys=False))
    try:
        there.deploy()
        now = schedule()
        assert isinstance(now.schedule, IntervalSchedule)
        assert now.schedule.interval == every.interval
        assert now.active is not active
    finally:
        file.write_text(before)
    there.deploy(replace=True)
    assert isinstance(schedule().schedule, CronSchedule)
    assert schedule().active is active


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
def take(name: str, slots: int = 1, work: Callable[[], Any] = lambda: None) -> Any:
    """As with a lease that a server with leases in memory forgot: taken, and never given back."""
    with get_client(sync_client=True) as client:
        client.increment_concurrency_slots([name], slots, "concurrency")
    tell(name, slots)
    return work()


@flow(flow_run_name="the killed one")
def killed(name: str, slots: int) -> None:
    """As a holder that was killed: Prefect freed what it took, and no event told of that."""
    tell(name, slots)


def tell(name: str, slots: int) -> None:
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name(name)
    resource = f"prefect.concurrency-limit.{limit.id}"
    emit_event(ACQUIRED, {"prefect.resource.id": resource, SLOTS: str(slots)})


def taken(client: SyncPrefectClient, name: str) -> int:
    return client.read_global_concurrency_limit_by_name(name).active_slots


@pytest.fixture
def make(client: SyncPrefectClient) -> Iterator[Callable[[str, int], str]]:
    """Makes limits for a test, which later ones do not find."""
    made = []

    def make(name: str, size: int) -> str:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=size))
        made.append(name)
        return name

    yield make
    for name in made:
        client.delete_global_concurrency_limit_by_name(name)


def test_a_slot_whose_holder_ended_long_ago_is_freed_and_no_other(
    there: Deployed,
    client: SyncPrefectClient,
    make: Callable[[str, int], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "PAGE", 2)
    name = make("gpu:elsewhere", 2)

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
    there: Deployed,
    client: SyncPrefectClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    there.deploy()
    name = limit_name("cpu")
    client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=1))
    take(name)
    time.sleep(limits.SECONDS_UNTIL_WRITTEN)
    monkeypatch.setattr(limits, "LEASE_SECONDS", -60.0)
    told: list[str] = []
    with caplog.at_level(logging.INFO), slot("cpu", waits=told.append) as held:
        assert held
    assert told == [f"waits for a slot of {name}"]
    freed = f"freed a slot of {name}, held by the flow run the holder, which has ended"
    assert freed in caplog.text


def test_slots_of_the_living_stay_beside_a_killed_holder_whose_slots_prefect_freed(
    client: SyncPrefectClient, make: Callable[[str, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_SECONDS", -60.0)
    name = make("gpu:of four", 4)
    killed(name, 1)

    def look() -> list[str]:
        time.sleep(limits.SECONDS_UNTIL_WRITTEN)
        return list(limits.free_leaks(client))

    assert take(name, 4, look) == []
    assert taken(client, name) == 4


def test_all_slots_of_a_dead_holder_are_freed_or_none(
    client: SyncPrefectClient, make: Callable[[str, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_SECONDS", -60.0)
    name = make("gpu:of eight", 8)
    killed(name, 6)
    take(name, 4)
    client.increment_concurrency_slots([name], 1, "concurrency")  # by somebody unknown
    time.sleep(limits.SECONDS_UNTIL_WRITTEN)
    told = f"freed 4 slots of {name}, held by the flow run the holder, which has ended"
    assert list(limits.free_leaks(client)) == [told]
    assert taken(client, name) == 1
    assert list(limits.free_leaks(client)) == []


def test_those_who_come_and_go_while_it_is_looked_lose_nothing(
    client: SyncPrefectClient, make: Callable[[str, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_SECONDS", -60.0)
    name = make("gpu:busy", 4)
    killed(name, 1)
    over = threading.Event()

    def hold() -> None:
        over.wait(120)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(copy_context().run, take, name, 1, hold)
        # the event of it is not written yet
        wait_for(lambda: taken(client, name) == 1)
        looks = pool.submit(copy_context().run, lambda: list(limits.free_leaks(client)))
        time.sleep(limits.SECONDS_UNTIL_WRITTEN - 1)
        second = pool.submit(copy_context().run, take, name, 1, hold)
        told = looks.result()
        over.set()
        first.result()
        second.result()
    assert told == []
    assert taken(client, name) == 2


def test_of_two_that_free_at_once_one_does_and_the_next_holder_keeps_its_slot(
    client: SyncPrefectClient, make: Callable[[str, int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LEASE_SECONDS", -60.0)
    name = make("gpu:of one", 1)
    take(name)
    time.sleep(limits.SECONDS_UNTIL_WRITTEN)

    def look(after: float) -> list[str]:
        time.sleep(after)
        with get_client(sync_client=True) as own:
            return list(limits.free_leaks(own))

    with ThreadPoolExecutor() as pool:
        both = [pool.submit(copy_context().run, look, after) for after in (0.0, 3.0)]
        wait_for(lambda: taken(client, name) == 0, 60)
        client.increment_concurrency_slots([name], 1, "concurrency")  # its event comes later
        told = [line for each in both for line in each.result()]
    assert len(told) == 1, told
    assert taken(client, name) == 1


def test_a_torch_that_does_not_work_is_named(
    there: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GPUS", "import no_such_torch")
    told = r"torch of \S+ does not work \(ModuleNotFoundError: No module named 'no_such_torch'\)"
    with pytest.raises(GanpipeError, match=told):
        there.deploy()
