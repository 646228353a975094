"""`retrain/nightly` as its schedule starts it: a real scheduler, a real worker, runs of seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort

from tests.flows.deployed import Deployed, deployed, wait_for
from tests.flows.quick import trained

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NAME = "retrain/nightly"
EVERY = timedelta(seconds=20)
BUSY = "another retraining of ganpipe is under way: retrain ganpipe from scratch"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(3):
        add(folder, number)
    return folder


@pytest.fixture(scope="module")
def there(
    images: Path, tmp_path_factory: pytest.TempPathFactory, repository_root: Path
) -> Iterator[Deployed]:
    source = ("data.source=folder", f"data.path={images}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "5")
        with deployed(tmp_path_factory.mktemp("nightly"), repository_root, *source) as made:
            made.deploy()
            with made.worker():
                yield made


def add(folder: Path, number: int) -> None:
    Image.new("L", (8, 8), number).save(folder / f"{number}.png")


@contextmanager
def scheduled() -> Iterator[None]:
    """Meanwhile the deployment fires every few seconds."""
    with get_client(sync_client=True) as client:
        nightly = client.read_deployment_by_name(NAME).id
        often = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=EVERY), slug="often")
        (made,) = client.create_deployment_schedules(nightly, [often])
        yield
        client.delete_deployment_schedule(nightly, made.id)
        # with those that were due, but for what had begun
        wait_for(lambda: len(ended()) == len(runs()))


def runs() -> list[FlowRun]:
    """The runs of the deployment, in the order in which they were due."""
    nightly = DeploymentFilter(name=DeploymentFilterName(any_=["nightly"]))
    order = FlowRunSort.EXPECTED_START_TIME_ASC
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(deployment_filter=nightly, sort=order)


def ended() -> list[FlowRun]:
    return [run for run in runs() if run.state is not None and run.state.is_final()]


def told(run: FlowRun) -> tuple[str, str]:
    assert run.state is not None
    return str(run.state.name), str(run.state.message)


def test_a_schedule_trains_skips_and_trains_again_when_images_came(
    there: Deployed, images: Path
) -> None:
    nothing = "nothing new in data (3 files), code and parameters since the champion"
    skipped = ("Skipped", f"{nothing}, ganpipe version 1")

    def states() -> list[tuple[str, str]]:
        # one that is due while another trains is skipped, too
        return [told(run) for run in ended() if told(run)[1] != BUSY]

    with scheduled():
        wait_for(lambda: skipped in states(), 180, states)
        assert len(trained(there.made)) == 1
        add(images, 3)
        wait_for(lambda: [name for name, _ in states()].count("Completed") == 2, 180, states)
    assert all(run.auto_scheduled for run in ended())
    (first, one), (second, _), *more = states()
    assert (first, second) == ("Completed", "Skipped")
    assert "ganpipe version 1 is champion" in one
    (two,) = [text for name, text in more if name == "Completed"]
    assert "ganpipe version 2 is candidate" in two
    assert len(trained(there.made)) == 2


def test_of_two_that_start_at_once_one_trains(there: Deployed, images: Path) -> None:
    before = len(trained(there.made))
    add(images, 4)
    both = [there.start(NAME), there.start(NAME)]
    wait_for(
        lambda: all(there.run(run).state.is_final() for run in both),  # type: ignore[union-attr]
        180,
        lambda: [there.run(run).state for run in both],
    )
    trains, waits = sorted(told(there.run(run)) for run in both)
    assert trains[0] == "Completed", trains
    # it was told that the other is at work, or came when the other had ended
    assert waits[0] == "Skipped"
    assert waits[1] == BUSY or "made of the same before" in waits[1]
    assert len(trained(there.made)) == before + 1
