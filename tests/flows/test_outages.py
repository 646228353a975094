"""MLflow goes away while flows are at work: what was done stays done, and is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.events.worker import EventsWorker

from flows import retries, run_page, trial
from flows.housekeeping import housekeeping
from flows.limits import limit_name
from flows.retrain import retrain
from flows.sweep import sweep
from flows.watch import watch
from ganpipe import tracking
from ganpipe.params.housekeeping import HousekeepingParams
from ganpipe.params.retrain import RetrainParams
from ganpipe.params.sweep import SweepParams
from ganpipe.params.watch import WatchParams
from ganpipe.registry import registration
from tests.conftest import MlflowServer
from tests.flows import quick
from tests.flows.deployed import wait_for
from tests.flows.registered import Repository

pytestmark = [pytest.mark.integration, pytest.mark.slow]


class Mlflow:
    """A server that goes away and comes back, with all that it knew."""

    def __init__(self, start: Callable[[], AbstractContextManager[str]]) -> None:
        self.start = start
        self.running = ExitStack()
        self.waits: list[float] = []
        self.returns = True
        self.address = ""

    def come(self) -> None:
        self.address = self.running.enter_context(self.start())

    def leave(self) -> None:
        self.running.close()

    def wait(self, seconds: float) -> None:
        """In place of the waiting after an outage: it is back at once, if it comes back."""
        self.waits.append(seconds)
        if self.returns:
            self.leave()
            self.come()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Repository]:
    """The checkout in which the flows run, as those of a deployment."""
    folder = tmp_path_factory.mktemp("outages")
    with quick.server(folder / "server"):
        with get_client(sync_client=True) as client:
            limit = GlobalConcurrencyLimitCreate(name=limit_name("cpu"), limit=1)
            client.create_global_concurrency_limit(limit)
        (folder / "images").mkdir()
        for shade in range(3):
            Image.new("L", (8, 8), shade).save(folder / "images" / f"{shade}.png")
        source = ["data.source=folder", f"data.path={folder / 'images'}"]
        made = quick.make(folder / "a repository", repository_root, *source)
        with quick.inside(made):
            yield made


@pytest.fixture
def mlflow(
    repo: Repository, mlflow_server: MlflowServer, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Mlflow]:
    """The server that the flows use; it is there."""
    made = Mlflow(lambda: mlflow_server(repo.folder.parent / "theirs", free_port))
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=made.wait))
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    made.come()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.address)
    yield made
    made.leave()


def train(model: str) -> Any:
    asked = RetrainParams(overrides=[f"register.model={model}"])
    return retrain(asked, return_state=True)


def after(done: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    def both(*given: Any, **named: Any) -> Any:
        found = done(*given, **named)
        then()
        return found

    return both


def test_a_look_is_taken_again_when_mlflow_is_back(mlflow: Mlflow) -> None:
    looks: tuple[Callable[[], Any], ...] = (
        lambda: watch(WatchParams(model="nobody"), return_state=True),
        lambda: housekeeping(HousekeepingParams(dry_run=True), return_state=True),
    )
    for number, look in enumerate(looks, 1):
        mlflow.leave()
        ended = look()
        assert ended.is_completed(), ended
        assert len(mlflow.waits) == number


def test_a_retraining_is_judged_when_mlflow_is_back(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train("judged").is_completed()
    monkeypatch.setattr(tracking, "check", after(tracking.check, mlflow.leave))
    ended = train("judged")
    assert ended.name == "Skipped", ended
    assert len(mlflow.waits) == 1


def test_a_trial_that_was_measured_counts(mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "log_report", after(trial.log_report, mlflow.leave))
    over: Any = {"train.kimg": [31.0]}
    asked = SweepParams(over=over, overrides=("register.model=measured",))
    ended: Any = sweep(asked, return_state=True)
    assert ended.is_completed(), ended
    assert "measured version 1 is champion" in ended.message


def test_a_run_whose_version_is_registered_is_done_though_mlflow_stays_away(
    mlflow: Mlflow, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave() -> None:
        mlflow.leave()
        mlflow.returns = False

    monkeypatch.setattr(run_page.RunPage, "tell_version", after(lambda *_: None, leave))
    monkeypatch.setattr("flows.retrain._remember", lambda *_: None)
    ended = train("ended")
    assert ended.is_completed(), ended
    assert "ended version 1 is champion" in ended.message
    assert sum(mlflow.waits) == 60.0


def test_a_new_version_is_told_though_mlflow_went_away_before_its_decision(
    mlflow: Mlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def leave() -> None:
        calls.append(1)
        if len(calls) == 1:
            mlflow.leave()

    monkeypatch.setattr(
        registration.packaging,
        "create_version",
        after(registration.packaging.create_version, leave),
    )
    ended = train("told")
    assert ended.is_completed(), ended
    assert (len(calls), len(mlflow.waits)) == (1, 1)
    EventsWorker.drain_all(timeout=10)
    wait_for(lambda: len(registered("told")) == 1, 30)
    again = train("told")
    assert again.name == "Skipped"


def registered(model: str) -> list[dict[str, Any]]:
    wanted = EventFilter(event=EventNameFilter(name=["ganpipe.model.registered"]))
    with get_client(sync_client=True) as client:
        found = client.read_events(wanted, limit=50).events
    return [each.payload for each in found if each.resource.id == f"ganpipe.model.{model}"]
