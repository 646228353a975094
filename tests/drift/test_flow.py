"""The flow `watch` on a real server: its states, its page and its event."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.data_events import emit_drift
from flows.prefect_server import shared_server
from flows.watch import arrived, watch
from ganpipe import registry
from ganpipe.params.watch import WatchParams
from tests.drift.world import World, digits, inverted, unseen


@pytest.mark.slow
@pytest.mark.integration
def test_drift_is_shown_told_as_an_event_and_told_once(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def events(client: SyncPrefectClient) -> list[dict[str, Any]]:
        wanted = EventFilter(event=EventNameFilter(name=["ganpipe.drift.detected"]))
        return [each.payload for each in client.read_events(wanted, limit=50).events]

    for name in ("PREFECT_API_URL", "GANPIPE_STATE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(world.folder)
    digits(tmp_path / "good", unseen(0, 120))
    digits(tmp_path / "bad", unseen(1, 120), inverted)
    with (
        shared_server(tmp_path) as url,
        temporary_settings({PREFECT_API_URL: url}),
        get_client(sync_client=True) as client,
    ):
        states = [
            watch(WatchParams(model=model, source="folder", path=str(path)), return_state=True)
            for model, path in (
                ("", tmp_path / "good"),
                ("", tmp_path / "bad"),
                ("", tmp_path / "bad"),
                ("", tmp_path / "nowhere"),
                ("nobody", tmp_path / "good"),
            )
        ]
        assert [state.name for state in states] == [
            *("No drift", "Drift", "Skipped", "Failed", "Skipped"),
        ]
        champion = registry.find(world.uri, "champion", "ganpipe").version  # another test's, maybe
        told = f"drift from ganpipe version {champion}: kid_classifier"
        assert told in str(states[1].message)
        assert "nowhere" in str(states[3].message)
        assert "model nobody has no champion yet" in str(states[4].message)
        deadline = time.monotonic() + 30
        while not (told := events(client)) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert [(each["model"], each["measure"]) for each in told] == [
            ("ganpipe", "kid_classifier of incoming images")
        ]
        # what sends events keeps to the server that it has seen first
        EventsWorker.drain_all(timeout=10)
        texts = [str(each.data) for each in client.read_artifacts() if each.key == "watch"]
    assert sorted(text.partition(":")[0] for text in texts) == [
        *("# Drift", "# No drift", "# Nothing decided"),
    ]
    assert sum(text.count("](data:image/") for text in texts) == 2, "of drift alone"


@pytest.mark.slow
@pytest.mark.integration
def test_an_event_that_the_server_has_not_got_is_not_taken_for_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with shared_server(tmp_path) as url, temporary_settings({PREFECT_API_URL: url}):
        told = emit_drift("ganpipe", "kid", 0.3, 0.1)
        assert told is not None
        assert arrived([told.id])
        EventsWorker.drain_all(timeout=10)
        monkeypatch.setattr(sys.modules["flows.watch"], "SECONDS_UNTIL_WRITTEN", 3.0)
        assert not arrived([told.id, uuid4()])
        assert arrived([])
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert not arrived([told.id])
