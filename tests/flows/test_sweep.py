"""The flow `sweep` on a real server: killed, gone on, one registered, and nothing for a failure."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowFilter,
    FlowFilterName,
)
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import Scheduled

from flows.sweep import sweep
from flows.tag import TAG
from flows.trial import FLOW_RUN_TAG
from ganpipe import registry, tracking, workspace
from ganpipe.files import read_json
from ganpipe.params.sweep import SweepParams
from ganpipe.registry import CHAMPION
from tests.flows import quick
from tests.flows.registered import METRIC, Repository

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MODEL = "swept"
ASKED: dict[str, Any] = {
    # a distance is train.kimg, and train.beta1=0.5 fails
    "over": {"train.kimg": [30.0, 20.0], "train.beta1": [0.0, 0.5]},
    "overrides": [f"register.model={MODEL}"],
}
START = """
import sys
from uuid import UUID
from tests.flows.test_sweep import attempt
attempt(UUID(sys.argv[1]))
"""
TRIAL = "trial {}: train.kimg={:g}, train.beta1={:g}"


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Repository]:
    """The checkout in which the flows run."""
    folder = tmp_path_factory.mktemp("sweep")
    with quick.server(folder / "server"):
        (folder / "images").mkdir()
        for shade in range(3):
            add(folder / "images", shade)
        source = ["data.source=folder", f"data.path={folder / 'images'}"]
        made = quick.make(folder / "a repository", repository_root, *source)
        with quick.inside(made):
            yield made


def add(folder: Path, shade: int) -> Path:
    path = folder / f"{shade}.png"
    Image.new("L", (8, 8), shade).save(path)
    return path


def attempt(run: UUID) -> State[Any]:
    """Run the sweep as this flow run to its end, again where it was killed."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Scheduled(), force=True)
        found = client.read_flow_run(run)
    given = {"sweep": SweepParams.model_validate(ASKED)}
    ended: Any = run_flow(sweep, flow_run=found, parameters=given, return_type="state")
    assert isinstance(ended, State)
    return ended


def trials() -> dict[UUID, str]:
    """Flow run to name, of all trials."""
    wanted = FlowFilter(name=FlowFilterName(any_=["trial"]))
    with get_client(sync_client=True) as client:
        return {run.id: run.name for run in client.read_flow_runs(flow_filter=wanted)}


@dataclass(frozen=True)
class Story:
    """A sweep that was killed in its third trial, and the same flow run, tried again.

    Meanwhile somebody added an image and made a commit.
    """

    parent: str
    """Its MLflow run, when it was killed."""
    before: list[str]
    """The trainings until then."""
    trials: dict[UUID, str]
    """Their flow runs until then."""
    state: Any


@pytest.fixture(scope="module")
def story(repo: Repository, repository_root: Path) -> Story:
    with get_client(sync_client=True) as client:
        given = {"sweep": SweepParams.model_validate(ASKED)}
        run = client.create_flow_run(sweep, parameters=given).id
    process = subprocess.Popen(
        # -P: this code and not its copy in the checkout, which Prefect takes for another flow
        [sys.executable, "-P", "-c", START, str(run)],
        cwd=repo.folder,
        env=workspace.environment(repo.folder, repository_root),
        start_new_session=True,
    )
    try:
        wait(lambda: len(recorded(repo)) == 2)
        (repo.state / "wait").touch()
        wait(lambda: len(quick.trained(repo)) == 2)
        image = add(repo.folder.parent / "images", 3)
        (repo.folder / "more.py").open("a").write("sys.exit('code of another day')\n")
        workspace.git(repo.folder, "commit", "--quiet", "--all", "-m", "another day")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before, flow_runs = quick.trained(repo), trials()
    (path,) = (repo.state / "sweeps").glob("*.json")
    parent = read_json(path)["mlflow_run"]
    (repo.state / "wait").unlink()
    ended = attempt(run)
    image.unlink()
    workspace.git(repo.folder, "reset", "--quiet", "--hard", "HEAD~1")
    return Story(parent, before, flow_runs, ended)


def recorded(repo: Repository) -> list[Any]:
    for path in (repo.state / "sweeps").glob("*.json"):
        return list(read_json(path)["trials"])
    return []


def wait(condition: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_failed_trials_are_counted_and_named_and_end_nothing(
    repo: Repository, story: Story
) -> None:
    assert story.state.is_completed(), story.state
    told = "the best of 2: train.kimg=20, train.beta1=0; "
    assert str(story.state.message).startswith(told)
    assert str(story.state.message).endswith("; 2 failed")
    problems = [each["problem"] for each in recorded(repo)]
    assert [bool(each) for each in problems] == [False, True, False, True]
    assert "beta1 of 0.5 is too much" in problems[1]


def test_a_killed_sweep_goes_on_with_what_was_not_done(repo: Repository, story: Story) -> None:
    assert [line.split()[1] for line in story.before] == ["30.0", "20.0"]
    # the third trial had not come to an end; the best is registered from the cache
    assert [line.split()[1] for line in quick.trained(repo)] == ["30.0", "20.0", "20.0"]


def test_all_are_of_the_code_and_the_images_of_its_beginning(
    repo: Repository, story: Story
) -> None:
    del story
    spaces = workspace.workspaces(repo.folder)
    assert len(spaces) == 6, "four trials, one that failed again, and the best to register it"
    assert {workspace.git(each, "rev-parse", "HEAD") for each in spaces} == {
        workspace.git(repo.folder, "rev-parse", "HEAD")
    }
    assert {read_json(each / "data" / "source.json")["count"] for each in spaces} == {3}


def test_the_page_of_a_trial_belongs_to_its_number(repo: Repository, story: Story) -> None:
    points = [(kimg, beta) for kimg in (30.0, 20.0) for beta in (0.0, 0.5)]
    names = [TRIAL.format(number, *each) for number, each in enumerate(points)]
    found = trials()
    assert sorted(story.trials.values()) == names[:3]
    assert story.trials.items() <= found.items()
    # the one that was killed is one run; the one that failed was tried anew
    assert sorted(found.values()) == sorted([*names, names[1]])
    client = tracking.connect(repo.uri)
    experiment = client.get_run(story.parent).info.experiment_id
    for run, name in found.items():
        own = client.search_runs([experiment], f"tags.`{FLOW_RUN_TAG}` = '{run}'")
        tried = [(each.data.params["train.kimg"], each.data.params["train.beta1"]) for each in own]
        assert set(tried) == {tuple(map(str, points[names.index(name)]))}
        assert len(tried) == 1 + (name == names[2])


def test_only_the_best_is_registered_and_passes_the_gate(repo: Repository, story: Story) -> None:
    summary = story.state.result()
    assert (summary.model, summary.version, summary.alias) == (MODEL, "1", CHAMPION)
    assert summary.value == 20.0
    client = tracking.connect(repo.uri)
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 1
    assert [move.action for move in registry.history(repo.uri, MODEL)] == ["promoted"]


def test_mlflow_shows_one_run_with_all_trials_nested_and_a_table(
    repo: Repository, story: Story
) -> None:
    client = tracking.connect(repo.uri)
    parent = client.get_run(story.parent)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["ganpipe.model_version"] == f"models:/{MODEL}/1"
    runs = client.search_runs(
        [parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{story.parent}'"
    )
    # three begun before the kill, three after it, and the best once more
    assert sorted(run.info.status for run in runs) == sorted(
        [*["FINISHED"] * 3, *["FAILED"] * 3, "KILLED"]
    )
    assert {run.data.params["train.kimg"] for run in runs} == {"30.0", "20.0"}
    table = Path(client.download_artifacts(story.parent, "trials.csv"))
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    assert [row["value"] for row in rows] == ["30.0", "", "20.0", ""]
    assert {row["metric"] for row in rows} == {METRIC, ""}


def test_trials_are_flow_runs_named_for_what_they_try_and_the_page_has_a_table(
    story: Story,
) -> None:
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs()
        names = {run.name for run in runs}
        assert all(TAG in run.tags for run in runs if run.id in trials())
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["sweep"]))
        texts = [str(each.data) for each in client.read_artifacts(artifact_filter=wanted)]
        flow_run = client.read_flow_run(story.state.state_details.flow_run_id)
    assert "trial 2: train.kimg=20, train.beta1=0" in names
    assert flow_run.name == "sweep over train.kimg, train.beta1"
    assert any("# 2 of 4 trainings measured, 2 failed" in text for text in texts)


def test_the_same_sweep_again_trains_nothing_and_registers_nothing(
    repo: Repository, story: Story
) -> None:
    del story
    before = quick.trained(repo)
    asked = {**ASKED, "over": {"train.kimg": [20.0]}}
    first: Any = sweep(SweepParams.model_validate(asked), return_state=True)
    assert first.is_completed(), first
    assert quick.trained(repo) == before, "another sweep, whose trial comes from the cache"
    runs = len(workspace.workspaces(repo.folder))
    again: Any = sweep(SweepParams.model_validate(asked), return_state=True)
    assert again.is_completed(), again
    assert len(workspace.workspaces(repo.folder)) == runs + 1, "only the best, to register it"
    client = tracking.connect(repo.uri)
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 1


def test_where_all_fail_so_does_the_sweep_with_their_problems(repo: Repository) -> None:
    asked = {"over": {"train.beta1": [0.5]}, "overrides": [f"register.model={MODEL}"]}
    state: Any = sweep(SweepParams.model_validate(asked), return_state=True)
    assert state.is_failed()
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["diagnosis"]))
        shown = {each.flow_run_id: each for each in client.read_artifacts(artifact_filter=wanted)}
    text = str(shown[state.state_details.flow_run_id].data)
    assert text.startswith("# Attempt 1 failed\n")
    assert "all 1 trainings failed" in text
    assert "nothing was done" not in text
    assert "all 1 trainings failed" in state.message
    assert "train.beta1=0.5: " in state.message
    assert "beta1 of 0.5 is too much" in state.message


def test_values_that_do_not_go_together_are_refused_before_any_work(repo: Repository) -> None:
    before = workspace.workspaces(repo.folder)
    asked = {"over": {"train.augment": ["none", "diffaugment"]}}
    state: Any = sweep(SweepParams.model_validate(asked), return_state=True)
    assert state.is_failed()
    assert "train.augment=diffaugment does nothing" in state.message
    assert workspace.workspaces(repo.folder) == before


def test_a_retry_names_what_it_kept_that_is_no_parameter_any_more(repo: Repository) -> None:
    given = {"sweep": SweepParams()}
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(sweep, parameters=given)
    note = repo.state / "sweeps" / "begun" / f"{run.id}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    kept = {"base": {"train": {"kimgs": 3}}, "pin": {}, "source": {}}
    note.write_text(json.dumps(kept), encoding="utf-8")
    state: Any = run_flow(sweep, flow_run=run, parameters=given, return_type="state")
    assert state.is_failed()
    assert f"{note}: train.kimgs is not a parameter: did you mean kimg?" in state.message
