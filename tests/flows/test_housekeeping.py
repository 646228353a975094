"""The flow `housekeeping`: what goes, what stays, and that nothing goes that has not ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled, Completed, Failed, Pending, Running, State

from flows import retention
from flows.housekeeping import headline, housekeeping, rows
from flows.prefect_server import shared_server
from flows.retention import Retained, retain
from ganpipe import tracking
from ganpipe.collection import Item
from ganpipe.params import Params
from ganpipe.params.housekeeping import HousekeepingParams
from tests.flows.registered import Repository

LATER = timedelta(minutes=1)


def item(kind: str, name: str, why: str, *, goes: bool, size: int = 1000) -> Item:
    return Item(kind, name, name, size, 40 * 86400.0, goes=goes, why=why)


def test_the_table_has_a_line_for_what_goes_and_for_each_reason_to_stay() -> None:
    gone = [item("runs", f"run-{number:02}", "nothing needs it", goes=True) for number in range(12)]
    kept = [
        item("runs", "newest", "one of the newest 5", goes=False),
        item("cache", "ab/cdef", "named by git's main", goes=False, size=5_000_000),
    ]
    table = rows([*kept, *gone], gone)
    assert [(row["what"], row[""], row["count"]) for row in table] == [
        ("cache", "stays", "1"),
        ("runs", "goes", "12"),
        ("runs", "stays", "1"),
    ]
    assert table[0]["size"] == "5.0 MB"
    assert table[0]["names"] == "", "nobody knows a file of the cache by its hash"
    assert table[1]["names"].startswith("run-00, run-01")
    assert table[1]["names"].endswith("run-09 ...")
    # planned, but not gone: it was killed, or came into use
    assert [row[""] for row in rows(gone[:2], gone[:1])] == ["goes", "stays"]


def test_the_headline_counts_and_gives_the_reason_for_what_was_left_alone() -> None:
    gone = [item("runs", "old", "nothing needs it", goes=True)]
    told = headline(gone, Retained(runs=2, artifacts=1), "run x is under way", dry_run=False)
    assert told == (
        "deleted 1 runs; 1.0 kB; of Prefect 2 flow runs, 1 artifact; "
        "no workspace, no notes and nothing of DVC's cache: run x is under way"
    )
    assert headline([], Retained(), "", dry_run=True) == (
        "would delete nothing; of Prefect 0 flow runs, 0 artifacts"
    )


def test_the_form_tells_every_parameter() -> None:
    from prefect.utilities.callables import parameter_schema

    section = parameter_schema(housekeeping.fn).definitions["HousekeepingParams"]["properties"]
    assert all(each["description"] for each in section.values())
    assert section["only"]["items"]["enum"][0] == "workspaces"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        with (
            shared_server(tmp_path_factory.mktemp("prefect")) as url,
            temporary_settings({PREFECT_API_URL: url}),
            get_client(sync_client=True) as found,
        ):
            yield found
            # what sends events keeps to the server that it has seen first
            EventsWorker.drain_all(timeout=10)


@flow(name="any")
def any_flow() -> None:
    """Somebody's."""


def make(
    client: SyncPrefectClient, state: State[Any], *tags: str, below: UUID | None = None
) -> UUID:
    parent = None
    if below is not None:
        parent = client.create_task_run(
            task(lambda: None), flow_run_id=below, dynamic_key="0", name="child"
        ).id
    run = client.create_flow_run(any_flow, tags=tags, parent_task_run_id=parent)
    client.set_flow_run_state(run.id, state, force=True)
    client.create_artifact(
        ArtifactCreate(key="page", type="markdown", data="x", flow_run_id=run.id)
    )
    return run.id


def there(client: SyncPrefectClient) -> set[UUID]:
    return {run.id for run in client.read_flow_runs()}


def pages(client: SyncPrefectClient) -> set[UUID | None]:
    return {each.flow_run_id for each in client.read_artifacts()}


@pytest.mark.slow
@pytest.mark.integration
def test_old_runs_of_ganpipe_go_with_their_children_and_nothing_else(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE", 2)
    monkeypatch.setattr(retention, "BATCH", 2)
    ended = [make(client, state, "ganpipe") for state in (Completed(), Failed(), Cancelled())]
    ended.append(make(client, Completed(), below=ended[0]))
    going_on = make(client, Completed(), "ganpipe")
    sweep = make(client, Running(), "ganpipe")
    stay = {
        sweep,
        make(client, Completed(), "ganpipe", below=sweep),
        make(client, Pending(), "ganpipe"),
        make(client, Completed(), "somebody"),
        make(client, Completed()),
        going_on,
        make(client, Running(), below=going_on),
    }
    told = Retained()
    retain(datetime.now(UTC) - LATER, told)
    assert told == Retained(), "they ended later"
    retain(datetime.now(UTC) + LATER, told, dry_run=True)
    assert there(client) == stay | set(ended)
    assert told == Retained(runs=4, artifacts=4, kept=1)
    done = Retained()
    retain(datetime.now(UTC) + LATER, done)
    assert done == told
    assert there(client) == stay
    assert pages(client) == stay
    again = Retained()
    retain(datetime.now(UTC) + LATER, again)
    assert again == Retained(kept=1)


@pytest.mark.slow
@pytest.mark.integration
def test_the_flow_deletes_as_gc_does_and_leaves_the_cache_alone_during_a_run(
    client: SyncPrefectClient,
    tmp_path: Path,
    repository_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GANPIPE_STATE", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    repo = Repository(tmp_path / "repo", repository_root)
    monkeypatch.chdir(repo.folder)
    for seed in (1, 2):
        repo.register(seed, 20.0 + seed)
    asked = HousekeepingParams(older_than_days=0, keep_last=0)

    def run(**more: Any) -> str:
        ended = housekeeping(asked.model_copy(update=more), return_state=True)
        assert ended.is_completed(), ended.message
        return str(ended.message)

    def workspaces() -> int:
        return len(list((repo.state / "workspaces").iterdir()))

    assert run(dry_run=True).startswith("would delete ")
    assert workspaces() == 2
    assert set(repo.aliases("ganpipe").values()) == {"1", "2"}
    started = tracking.start_run(repo.uri, repo.state, "under-way", Params(), {})
    told = run()
    assert "no workspace, no notes and nothing of DVC's cache: run under-way is under way" in told
    assert workspaces() == 2
    tracking.end_run(repo.uri, started, "FINISHED")
    told = run()
    assert "2 workspaces" in told
    assert workspaces() == 0
    assert repo.aliases("ganpipe")["champion"] == "1"
    texts = [each for each in client.read_artifacts() if each.key == "housekeeping"]
    (shown,) = [each for each in texts if each.description == told]
    lines = json.loads(str(shown.data))
    assert ["workspaces", "goes", "2"] in [[row["what"], row[""], row["count"]] for row in lines]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    down = housekeeping(asked, return_state=True)
    assert down.is_failed(), "nobody knows what is needed"
    assert "127.0.0.1:9" in str(down.message)
