"""What the server does by itself: it retrains on events, and tells a person through a block."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect import flow
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.events import emit_event

from flows.automations import NOTIFY, automate
from flows.data_events import emit_data_changed, emit_drift
from flows.deploy import AUTOMATIONS
from ganpipe.errors import GanpipeError
from tests.flows.deployed import Deployed, deployed, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("automations"), repository_root) as made:
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


def retrainings(client: SyncPrefectClient) -> Callable[[], int]:
    nightly = DeploymentFilter(name=DeploymentFilterName(any_=["nightly"]))
    return lambda: len(client.read_flow_runs(deployment_filter=nightly))


@flow(name="retrain")
def sees_it_itself() -> None:
    emit_data_changed("ganpipe", "its own", "b", "a")


def test_drift_and_new_data_start_a_retraining_and_one_that_sees_them_does_not_call_another(
    client: SyncPrefectClient,
) -> None:
    count = retrainings(client)
    assert count() == 0
    sees_it_itself()
    emit_drift("ganpipe", "kid", 0.3, 0.1)
    wait_for(lambda: count() == 1, 60)
    emit_drift("ganpipe", "shares", 0.3, 0.1)  # in the same hour
    emit_data_changed("ganpipe", "folder", "b", "a")
    wait_for(lambda: count() == 2, 60)
    time.sleep(8)
    assert count() == 2


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

    @flow(name="train", flow_run_name="train digits")
    def failing() -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        failing()
    resource = {"prefect.resource.id": "ganpipe.model.m", "prefect.resource.name": "m version 2"}
    payload = {"action": "promoted", "by": "Ada", "reason": 'it is "sharper"'}
    emit_event("ganpipe.model.promoted", resource, payload=payload)
    wait_for(lambda: len(told) == 2, 60, lambda: told)
    by_subject = {each["subject"]: each["body"] for each in told}
    assert by_subject["m version 2: promoted"] == 'by Ada: it is "sharper"'
    assert "a defect" in by_subject["train digits: Failed"]
