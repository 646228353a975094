"""ganpipe's own pipeline, small, deployed to a Prefect server and an MLflow server of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_server import shared_server
from ganpipe import workspace
from tests.drift.world import digits
from tests.flows.deployed import Deployed
from tests.flows.registered import Repository
from tests.integration.conftest import Checkout

MlflowServer = Callable[[Path, int], AbstractContextManager[str]]

ASKED = [
    "data.source=folder",
    "data.resolution=16",
    "data.test_fraction=0.3",
    "model.architecture=mlp",
    "model.width=16",
    "model.latent=16",
    "train.kimg=60",
    "train.tick_kimg=1",
    "train.snapshot_kimg=20",
    "train.state_kimg=2",
    "evaluate.extractor=classifier",
    "evaluate.samples=100",
    "evaluate.usefulness=never",
]
TRAINED_ON = 400  # digits in the folder


class Code(Repository):
    """The code as it stands, in a checkout whose images are a folder of digits."""

    def __init__(self, folder: Path, code: Path, images: Path) -> None:
        self.checkout = Checkout.of(code, folder, [*ASKED, f"data.path={images}"])
        self.folder = folder
        self.state = workspace.state_folder(folder)


class Real(Deployed):
    """Runs of real trainings, and their traces."""

    def __init__(self, made: Code, url: str, records: Records) -> None:
        super().__init__(made, url)
        self.code, self.records = made, records
        self.env["MLFLOW_TRACKING_URI"] = records.address

    def workspace(self, flow_run: UUID) -> Path:
        """That of a flow run, the same for all of its attempts."""
        for found in workspace.workspaces(self.code.folder):
            if str(flow_run) in (found / ".git" / "ganpipe-run.json").read_text():
                return found
        raise AssertionError(f"{flow_run} has no workspace")

    def outputs(self, flow_run: UUID) -> dict[str, bytes]:
        """The bytes of all that the stages of a run put out, and its lock."""
        folder = self.workspace(flow_run)
        lock = {"dvc.lock": (folder / "dvc.lock").read_bytes()}
        return self.code.checkout.outputs(folder) | lock

    def locked(self, flow_run: UUID) -> set[str]:
        """The stages that DVC has taken as whole."""
        return set(yaml.safe_load((self.workspace(flow_run) / "dvc.lock").read_text())["stages"])

    def trained(self) -> int:
        """Images of the newest state of the training under way; 0: it has saved none."""
        states = (self.state / "scratch").glob("train-*/states/state-*.json")
        return max((int(path.stem.partition("-")[2]) for path in states), default=0)

    def taken(self) -> list[Path]:
        """The trainings that DVC's cache knows."""
        known = (self.state / "cache" / "runs").glob("*/*/*")
        return [path for path in known if "stage train" in path.read_text()]

    def forget_training(self) -> None:
        """Nothing of an earlier training is left to be taken for a new one."""
        for path in self.taken():
            shutil.rmtree(path.parent)
        shutil.rmtree(self.state / "scratch")


class Records:
    """An MLflow server that can go away and come back."""

    def __init__(self, start: Callable[[], AbstractContextManager[str]]) -> None:
        self._start, self._running = start, ExitStack()
        self.address = ""

    def up(self) -> None:
        self.address = self._running.enter_context(self._start())

    def down(self) -> None:
        self._running.close()

    @contextmanager
    def away(self) -> Iterator[None]:
        self.down()
        try:
            yield
        finally:
            self.up()


@contextmanager
def real(folder: Path, code: Path, mlflow_server: MlflowServer, port: int) -> Iterator[Real]:
    """The code in a checkout, deployed; nothing has run, and there is no worker."""
    images = digits(folder / "images", range(TRAINED_ON))
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GANPIPE_STATE", "GIT_DIR"):
            patch.delenv(name, raising=False)
        made = Code(folder / "a repository", code, images)
        records = Records(lambda: mlflow_server(made.state, port))
        stack.callback(records.down)
        records.up()
        url = stack.enter_context(shared_server(made.state))
        stack.enter_context(temporary_settings({PREFECT_API_URL: url}))
        found = Real(made, url, records)
        found.deploy()
        yield found
