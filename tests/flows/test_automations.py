"""What the server does by itself: it retrains on events, and tells a person through a block."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect import flow
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun, State
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.states import Completed, Failed, Pending, Running, Suspended

from flows.automations import NOTIFY, automate
from flows.data_events import emit_data_changed, emit_drift
from flows.deploy import AUTOMATIONS
from flows.registry_events import emit_move, emit_registered
from flows.tag import TAG
from ganpipe.errors import GanpipeError
from ganpipe.registry import Decision, Move, Registration
from ganpipe.registry.audit import now
from tests.flows.deployed import Deployed, deployed, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Deployed]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_EVENTS_EXPIRED_BUCKET_BUFFER", "PT5S")
        with deployed(tmp_path_factory.mktemp("automations"), repository_root) as made:
            file = made.made.folder / AUTOMATIONS
            file.write_text(file.read_text().replace("within: 150", "within: 10"))
            made.deploy()
            yield made


@pytest.fixture
def client(there: Deployed) -> Iterator[SyncPrefectClient]:
    del there
    with get_client(sync_client=True) as found:
        yield found


@pytest.fixture
def heard(free_port: int) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a web hook, and what it was told."""
    told: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", free_port), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{free_port}/", told
    server.shutdown()
    thread.join()
    server.server_close()


def retrainings(client: SyncPrefectClient) -> list[FlowRun]:
    nightly = DeploymentFilter(name=DeploymentFilterName(any_=["nightly"]))
    return client.read_flow_runs(deployment_filter=nightly)


def run(client: SyncPrefectClient, name: str, state: State[None], *tags: str) -> FlowRun:
    """A run of a flow with that name, which came to that state."""
    named = flow(name=name)(lambda: None)
    made = client.create_flow_run(named, name=f"{name} {' '.join(tags)}", tags=tags)
    client.set_flow_run_state(made.id, state, force=True)
    return made


def test_only_runs_of_ganpipe_are_taken_for_dead_before_their_first_heartbeat_too(
    client: SyncPrefectClient,
) -> None:
    theirs = run(client, "train", Pending())
    ours = [
        run(client, name, state, TAG)
        for name, state in (("train", Pending()), ("trial", Running()))
    ]

    def crashed(each: FlowRun) -> bool:
        state = client.read_flow_run(each.id).state
        return state is not None and state.is_crashed()

    wait_for(lambda: all(crashed(each) for each in ours), 90)
    assert not crashed(theirs), "it was silent for longer"


@flow(name="retrain")
def sees_it_itself() -> None:
    emit_data_changed("ganpipe", "its own", "b", "a")


def test_drift_and_new_data_start_a_retraining_and_one_that_sees_them_does_not_call_another(
    client: SyncPrefectClient,
) -> None:
    nightly = client.read_deployment_by_name("retrain/nightly")
    edited = {"retrain": {"start": "champion"}}
    client.update_deployment(nightly.id, DeploymentUpdate(parameters=edited))
    assert retrainings(client) == []
    sees_it_itself()
    emit_drift("digits", "kid", 0.3, 0.1)
    wait_for(lambda: len(retrainings(client)) == 1, 60)
    emit_drift("digits", "shares", 0.3, 0.1)  # in the same hour
    emit_data_changed("letters", "folder", "b", "a")
    wait_for(lambda: len(retrainings(client)) == 2, 60)
    time.sleep(8)
    found = retrainings(client)
    assert [sorted(each.parameters["model"] for each in found)] == [["digits", "letters"]]
    assert all(each.parameters["retrain"] == edited["retrain"] for each in found)


def test_those_that_notify_do_so_through_the_block_that_is_named(
    there: Deployed,
    client: SyncPrefectClient,
    heard: tuple[str, list[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, told = heard
    file = there.made.folder / AUTOMATIONS
    monkeypatch.setenv(NOTIFY, "webhook/alerts")
    with pytest.raises(GanpipeError, match=r"no block webhook/alerts.*GANPIPE_NOTIFY"):
        automate(client, file)
    Webhook(url=url).save("alerts")
    made = automate(client, file)
    assert "made the automation ganpipe tells of another champion" in made
    assert automate(client, file) == []
    time.sleep(5)  # until the server's own loop has read them

    for name in ("undecided", "recover", "trial"):
        run(client, name, Failed(message="Prefect is away"), TAG)
    for state in (Failed(message="a defect"), Failed(name="TimeLimit", message="hours are over")):
        run(client, "train", state)
        run(client, "train", state, TAG)
    run(client, "promote", Suspended(timeout_seconds=3600), TAG)
    run(client, "recover", Completed(name="GivenUp", message="train crashed 3 times"), TAG)
    passed = Decision(True, 'it is "sharper"')
    emit_registered(Registration("m", "2", "candidate", passed, reused=False))
    emit_move(Move("promoted", "m", "2", "1", "Ada", now(), passed.reason, passed))
    emit_move(Move("rolled-back", "m", "1", "2", "Bob", now(), "sixes", passed))
    wait_for(lambda: len({each["subject"] for each in told}) >= 8, 60, lambda: told)
    time.sleep(5)
    by_subject = {each["subject"]: each["body"] for each in told}
    # Prefect may tell a thing twice; those of others, and a trial, it never tells
    assert set(by_subject) == {
        "m version 2: promoted",
        "m version 1: rolled-back",
        "train ganpipe: Failed",
        "train ganpipe: TimeLimit",
        "undecided ganpipe: Failed",
        "recover ganpipe: Failed",
        "promote ganpipe waits for a decision",
        "a run of ganpipe crashes again and again",
    }
    assert by_subject["m version 2: promoted"] == 'by Ada: it is "sharper"'
    assert by_subject["m version 1: rolled-back"] == "by Bob: sixes"
    assert "a defect" in by_subject["train ganpipe: Failed"]
    assert "hours are over" in by_subject["train ganpipe: TimeLimit"]
    assert "/runs/flow-run/" in by_subject["promote ganpipe waits for a decision"]
    assert "crashed 3 times" in by_subject["a run of ganpipe crashes again and again"]
    wanted = EventFilter(event=EventNameFilter(prefix=["ganpipe.model."]))
    found = {each.event: each for each in client.read_events(wanted, limit=50).events}
    assert {
        name: (each.resource.id, each.resource["ganpipe.model.version"])
        for name, each in found.items()
    } == {
        "ganpipe.model.registered": ("ganpipe.model.m", "2"),
        "ganpipe.model.promoted": ("ganpipe.model.m", "2"),
        "ganpipe.model.rolled-back": ("ganpipe.model.m", "1"),
    }
    registered = found["ganpipe.model.registered"].payload
    assert registered == {"alias": "candidate", "passed": True, "reason": passed.reason}


def test_those_that_notify_stay_where_no_block_is_named_and_are_told_of(
    there: Deployed, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    file = there.made.folder / AUTOMATIONS
    Webhook(url=f"http://127.0.0.1:{free_port}/").save("kept", overwrite=True)
    monkeypatch.setenv(NOTIFY, "webhook/kept")
    automate(client, file)
    monkeypatch.delenv(NOTIFY)
    (told,) = automate(client, file)
    assert told.startswith("kept as they are, though no block is named here: ganpipe tells of a")
    assert "they go on notifying" in told
    (champion,) = client.read_automations_by_name("ganpipe tells of another champion")
    assert champion.enabled
    client.delete_automation(champion.id)
    left_out, kept = automate(client, file)
    assert "left out, since no block notifies: ganpipe tells of another champion (" in left_out
    assert "another champion" not in kept
