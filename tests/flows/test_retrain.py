"""The flow `retrain` on a real server: skipped where nothing is new, once for each that is."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.events.worker import EventsWorker
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Crashed, Running

from flows import one_retraining
from flows.retrain import retrain
from flows.run import run_pipeline
from flows.tag import TAG
from ganpipe import lineage, params, tracking, workspace
from ganpipe.errors import GanpipeError
from ganpipe.params.retrain import RetrainParams
from tests.flows import quick
from tests.flows.registered import Repository

pytestmark = [pytest.mark.integration, pytest.mark.slow]

IMAGES = 3
MODEL = "nightly"
OTHER = "retrain ganpipe from another process"
HOLD = """
import sys
from prefect import flow
from flows.one_retraining import alone

@flow(name="retrain", flow_run_name="retrain ganpipe from another process")
def hold(lease):
    with alone("ganpipe", lease):
        print("held", flush=True)
        sys.stdin.readline()

hold(float(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with quick.server(tmp_path_factory.mktemp("server")) as found:
        yield found


@dataclass(frozen=True)
class Night:
    """What came of one retraining."""

    name: str
    told: str
    seconds: float
    trained: list[str]
    workspaces: list[Path]
    changes: list[dict[str, Any]]


@pytest.fixture(scope="module")
def repo(
    url: str, tmp_path_factory: pytest.TempPathFactory, repository_root: Path
) -> Iterator[Repository]:
    """The checkout in which the flows run; the pipeline only looks at the images' listing."""
    del url
    folder = tmp_path_factory.mktemp("retrain")
    (folder / "images").mkdir()
    for number in range(IMAGES):
        add(folder / "images", f"{number}.png")
    source = ["data.source=folder", f"data.path={folder / 'images'}"]
    made = quick.make(folder / "a repository", repository_root, *source)
    with quick.inside(made):
        yield made


def add(folder: Path, name: str) -> None:
    from PIL import Image

    Image.new("L", (8, 8), len(name)).save(folder / name)


def run(**given: Any) -> Any:
    """The state in which a retraining ends."""
    return retrain(RetrainParams(**given), return_state=True)


def night(repo: Repository, *overrides: str, **given: Any) -> Night:
    began = time.monotonic()
    state = run(overrides=[f"register.model={MODEL}", *overrides], **given)
    seconds = time.monotonic() - began
    assert state.is_completed(), state
    trained, spaces = quick.trained(repo), workspace.workspaces(repo.folder)
    return Night(state.name, state.message, seconds, trained, spaces, changes_told())


def changes_told() -> list[dict[str, Any]]:
    EventsWorker.drain_all(timeout=10)
    time.sleep(7)  # Prefect's server writes events down every 5 s
    wanted = EventFilter(event=EventNameFilter(name=["ganpipe.data.changed"]))
    with get_client(sync_client=True) as client:
        return [event.payload for event in client.read_events(wanted, limit=50).events]


@pytest.fixture(scope="module")
def nights(repo: Repository) -> list[Night]:
    """The first, nothing new, a new image, nothing new, a better training from the champion."""
    found = [night(repo), night(repo)]
    add(repo.folder.parent / "images", "new.png")
    found += [night(repo), night(repo)]
    better = {"start": "champion"}
    return [
        *found,
        night(repo, "train.kimg=100", **better),
        night(repo, "train.kimg=100", **better),
    ]


def test_where_there_is_no_champion_it_trains(nights: list[Night]) -> None:
    assert f"{MODEL} version 1 is champion" in nights[0].told
    assert len(nights[0].trained) == 1


def test_nothing_new_is_skipped_within_seconds_with_the_reason_and_no_workspace(
    nights: list[Night],
) -> None:
    assert nights[1].name == "Skipped"
    assert nights[1].told == (
        f"nothing new in data (3 files), code and parameters since the champion, {MODEL} version 1"
    )
    assert nights[1].seconds < 10
    assert nights[1].workspaces == nights[0].workspaces
    assert nights[1].changes == []


def test_a_new_image_is_told_of_and_trained_on(nights: list[Night]) -> None:
    assert nights[2].name == "Completed"
    assert len(nights[2].trained) == 2
    (change,) = nights[2].changes
    assert change["source"] == "folder"
    assert change["model"] == MODEL
    assert change["digest"] != change["before"]


def test_one_that_lost_against_the_champion_is_not_made_again_and_not_called_for_again(
    nights: list[Night],
) -> None:
    assert nights[3].name == "Skipped"
    assert f"made of the same before: {MODEL} version 2, candidate: " in nights[3].told
    assert re.search(r"data: 3 files of folder \(\w+\) -> 4 files of folder", nights[3].told)
    assert nights[3].workspaces == nights[2].workspaces
    assert nights[3].changes == nights[2].changes


def test_it_goes_on_from_the_champions_state_where_asked_to(nights: list[Night]) -> None:
    assert f"{MODEL} version 3 is champion" in nights[4].told
    train = params.load(nights[4].workspaces[0] / "params.yaml").train
    first = nights[4].workspaces[-1] / "dvc.lock"
    assert train.start == lineage.checkpoint(first.read_text(encoding="utf-8"))
    assert train.start_counter == "restart"
    assert nights[5].name == "Skipped"


def test_the_page_of_a_run_says_why_it_trained(nights: list[Night]) -> None:
    del nights
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["retraining"]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
        assert len(found) == 3
        texts = [str(each.data) for each in found]
        names = {client.read_flow_run(each.flow_run_id).name for each in found}
    assert any(f"- {MODEL} has no champion yet" in text for text in texts)
    told = "- parameters: train.kimg 150.0 -> 100.0"
    assert any(f"from {MODEL} version 1" in text and told in text for text in texts)
    assert names == {f"retrain {MODEL} from scratch", f"retrain {MODEL} from its champion"}


def test_a_retry_makes_what_the_first_attempt_began_and_only_that_is_taken_for_tried(
    repo: Repository, nights: list[Night]
) -> None:
    del nights  # they count images and trainings
    given = {"retrain": RetrainParams(overrides=("data.min_side=9",)), "model": "retried"}
    with get_client(sync_client=True) as client:
        first = client.create_flow_run(retrain)
    trained, away = repo.state / "trained.txt", repo.state / "away.txt"
    trained.rename(away)
    trained.mkdir()  # the training fails of it
    state: Any = run_flow(retrain, flow_run=first, parameters=given, return_type="state")
    assert state.is_failed(), state
    trained.rmdir()
    away.rename(trained)
    spaces = workspace.workspaces(repo.folder)
    # until it is tried again, everything becomes another
    add(repo.folder.parent / "images", "later.png")
    file = repo.folder / "params.yaml"
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace("kimg: 150", "kimg: 120"), encoding="utf-8")
    try:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(first.id, AwaitingRetry(), force=True)
            again = client.read_flow_run(first.id)
        state = run_flow(retrain, flow_run=again, parameters=given, return_type="state")
        assert "retried version 1 is champion" in state.message
        assert workspace.workspaces(repo.folder) == spaces
        assert quick.trained(repo)[-1].split()[1] == "150.0"
        state = retrain(**given, return_state=True)
        assert "retried version 2 is champion" in state.message, "nobody has made this before"
        assert quick.trained(repo)[-1].split()[1] == "120.0"
        assert retrain(**given, return_state=True).name == "Skipped"
    finally:
        file.write_text(before, encoding="utf-8")


def test_a_bad_parameter_is_refused_and_named_before_any_work(repo: Repository) -> None:
    before = workspace.workspaces(repo.folder)
    state = run(overrides=["train.kimgs=3"])
    assert state.is_failed()
    assert "train.kimgs is not a parameter: did you mean kimg?" in state.message
    assert workspace.workspaces(repo.folder) == before


def test_a_run_of_the_command_carries_the_tag_by_which_the_server_knows_ganpipes(
    repo: Repository,
) -> None:
    asked = params.override(params.load(repo.folder / "params.yaml"), ["register.model=by-hand"])
    summary = run_pipeline(asked)
    found = tracking.connect(repo.uri).get_model_version("by-hand", summary.version)
    run = tracking.connect(repo.uri).get_run(found.run_id)
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(UUID(run.data.tags["ganpipe.prefect_flow_run"]))
    assert flow_run.tags == [TAG]


@flow(name="retrain", flow_run_name="retrain {model} from a test")
def enter(model: str, lease: float = 60.0, begun: bool = False) -> str:
    with one_retraining.alone(model, lease, begun):
        return "let in"


def holder(repo: Repository, lease: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lease)],
        cwd=repo.folder,
        env=workspace.environment(repo.folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_of_two_at_once_is_skipped_and_names_the_first(repo: Repository) -> None:
    process = holder(repo, 60.0)
    try:
        state = run()
        assert state.name == "Skipped"
        assert state.message == f"another retraining of ganpipe is under way: {OTHER}"
        assert enter("another") == "let in"
    finally:
        process.communicate("\n", timeout=60)
    assert enter("ganpipe") == "let in"


def again(begun: bool) -> FlowRun:
    """A run that began before all others, and is tried again."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(enter, parameters={"model": "ganpipe", "begun": begun})
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        first = Running(timestamp=long_ago)
        client.set_flow_run_state(run.id, first, force=True)
        client.set_flow_run_state(run.id, AwaitingRetry(), force=True)
        return client.read_flow_run(run.id)


def test_a_retry_of_one_that_began_earlier_gives_way_to_the_one_at_work_or_waits_for_its_turn(
    repo: Repository,
) -> None:
    process = holder(repo, 60.0)
    try:
        told = f"another retraining of ganpipe is under way: {OTHER}"
        with pytest.raises(one_retraining.BusyError, match=told):
            run_flow(enter, flow_run=again(False), parameters={"model": "ganpipe"})
        end = threading.Timer(15.0, lambda: process.communicate("\n", timeout=60))
        end.start()
        began = time.monotonic()
        given = {"model": "ganpipe", "begun": True}
        assert run_flow(enter, flow_run=again(True), parameters=given) == "let in"
        assert time.monotonic() - began > 10
        end.join()
    finally:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("url")
def test_a_turn_that_never_comes_is_a_failure_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(one_retraining, "SECONDS_UNTIL_FREED", -55.0)
    name = f"{one_retraining.LIMIT}:nobody"
    assert enter("nobody") == "let in"
    with get_client(sync_client=True) as client:
        client.increment_concurrency_slots([name], 1, "concurrency")
    told = f"holds Prefect's limit {name}: retry this run when that one has ended"
    with pytest.raises(GanpipeError, match=told):
        enter("nobody", begun=True)


def test_one_that_was_killed_is_waited_for_no_longer_than_its_lease(repo: Repository) -> None:
    process = holder(repo, 60.0)
    process.kill()
    process.wait()
    wanted = FlowRunFilter(
        name=FlowRunFilterName(any_=[OTHER]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])),
    )
    with get_client(sync_client=True) as client:
        (dead,) = client.read_flow_runs(flow_run_filter=wanted)
        client.set_flow_run_state(dead.id, Crashed(), force=True)  # as the automation does
    began = time.monotonic()
    assert enter("ganpipe") == "let in"
    assert 30 < time.monotonic() - began < 120


@pytest.mark.usefixtures("url")
def test_what_is_done_under_the_lock_keeps_its_exception() -> None:
    @flow(name="retrain")
    def fail() -> None:
        with one_retraining.alone("failing"):
            raise GanpipeError("mine")

    for _ in range(2):
        with pytest.raises(GanpipeError, match="mine"):
            fail()
