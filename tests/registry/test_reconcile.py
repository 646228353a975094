"""`ganpipe reconcile` beside servers of one's own: outages, a real webhook, lock, event, end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from prefect.client.orchestration import get_client
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import locks
from flows.prefect_server import shared_server
from ganpipe import addresses, params, registry, workspace
from ganpipe.params import Params
from ganpipe.registry import CHAMPION
from ganpipe.registry_webhook import SECRET_VARIABLE
from tests.registry.shelf import Shelf, told

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MODEL, SECRET = "ganpipe", "a secret"
COMMAND = [sys.executable, "-P", "-m", "ganpipe", "reconcile"]
SERVER = {
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_CACHE_TTL": "1",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_API_URL", "GANPIPE_STATE", "GIT_DIR", addresses.OWN_PREFECT):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "a repository"
    folder.mkdir()
    params.write(Params(), folder / "params.yaml")
    workspace.git(folder, "init", "--quiet", "--template=")
    workspace.git(folder, "add", ".")
    named = ("-c", "user.name=A Person", "-c", "user.email=person@localhost")
    workspace.git(folder, *named, "commit", "--quiet", "-m", "start")
    return folder


@pytest.fixture
def repo(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout, and a Prefect server that is not its own."""
    state = tmp_path / "a server"
    with shared_server(state) as url, temporary_settings({PREFECT_API_URL: url}):
        monkeypatch.setenv("PREFECT_API_URL", url)
        monkeypatch.setenv("PREFECT_HOME", str(state / "prefect"))
        yield checkout


class Watch:
    """The command in a process of its own, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log, self.seen = process, log, 0

    def has_more(self, seconds: float) -> bool:
        """Whether it says another line by then."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.log.read_text().count("\n") > self.seen:
                return True
            time.sleep(0.1)
        return False

    def says(self, wanted: str, seconds: float = 90) -> str:
        """The next line that it says, which must be like this."""
        deadline = time.monotonic() + seconds
        while len(lines := self.log.read_text().split("\n")[:-1]) <= self.seen:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        line = lines[self.seen]
        self.seen += 1
        assert re.search(wanted, line), self.log.read_text()
        return line

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


@contextmanager
def watch(repo: Path, *options: str) -> Iterator[Watch]:
    log = repo.parent / "watch.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*COMMAND, *options], cwd=repo, env=workspace.environment(repo), stdout=output
        )
    try:
        yield Watch(process, log)
    finally:
        process.kill()
        process.wait()


def test_a_webhook_wakes_it_and_outages_are_waited_for(
    repo: Path,
    tmp_path: Path,
    free_port: int,
    mlflow_server: Callable[[Path, int], AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in SERVER.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port}")
    with watch(repo, "--every", "300", "--listen", "127.0.0.1:0") as watching:
        line = watching.says(r"looks every 300 s, and for webhooks to http://127\.0\.0\.1:\d+/ ")
        url = re.findall(r"http:\S+", line)[0]
        watching.says(f"is not noticed for now: MLflow at .*:{free_port} does not answer")
        with mlflow_server(tmp_path / "there", free_port) as address:
            shelf = Shelf(tmp_path, address)
            for distance in (20.0, 30.0):
                shelf.add(MODEL, told(distance))
            shelf.promote(MODEL, "1")
            hook = shelf.client.create_webhook(
                "moves",
                url,
                ["model_version_alias.created", "model_version_alias.deleted"],
                secret=SECRET,
            ).webhook_id
            assert shelf.client.test_webhook(hook).success
            watching.says("is noticed again")

            # MLflow may take a minute to know of a new webhook
            for _ in range(30):
                shelf.client.set_registered_model_alias(MODEL, CHAMPION, "2")
                if watching.has_more(4.0):
                    break
            watching.says("is not noticed for now: .* has no lock ganpipe-promotion")
            assert len(registry.history(address, MODEL)) == 1
            locks.make_limit()
            assert shelf.client.test_webhook(hook).success
            watching.says("is noticed again")
            watching.says("noticed: version 2 is champion by hand after version 1")
            watching.says("warning: the gate says no: .*30 against champion version 1's 20")

            began = time.monotonic()
            shelf.client.set_registered_model_alias(MODEL, CHAMPION, "1")
            while len(moves := registry.history(address, MODEL)) < 3:
                assert time.monotonic() - began < 60
                time.sleep(0.1)
            print(f"{time.monotonic() - began:.1f} s from the alias to its record")
            assert [(move.action, move.version) for move in moves[1:]] == [
                ("by-hand", "2"),
                ("by-hand", "1"),
            ]
            assert shelf.champions(MODEL) == ("1", "2")
            watching.says("noticed: version 1 is champion by hand after version 2")
            wait_for_events(["2", "1"])
            assert watching.end(signal.SIGTERM) == 0
    assert watching.log.read_text().endswith("stopped\n")


def wait_for_events(versions: list[str]) -> None:
    """Each move is an event, once."""
    deadline = time.monotonic() + 60
    wanted = EventFilter(event=EventNameFilter(name=["ganpipe.model.promoted"]))
    with get_client(sync_client=True) as client:
        while len(found := client.read_events(wanted, limit=50).events) < len(versions):
            assert time.monotonic() < deadline, found
            time.sleep(0.5)
    assert sorted(each.payload["version"] for each in found) == sorted(versions)


def ganpipe(repo: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND[:-1], *arguments]
    env = workspace.environment(repo)
    return subprocess.run(command, cwd=repo, env=env, capture_output=True, text=True, check=False)


def test_without_servers_one_look_or_one_every_so_often(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    state = workspace.state_folder(checkout)
    shelf = Shelf(tmp_path, f"sqlite:///{state / 'mlflow' / 'mlflow.db'}")
    for value in (20.0, 30.0):
        shelf.add(MODEL, told(value))
    shelf.promote(MODEL, "1")
    assert "nothing was moved in ganpipe at sqlite:" in ganpipe(checkout, "reconcile").stdout
    shelf.client.set_registered_model_alias(MODEL, CHAMPION, "2")
    done = ganpipe(checkout, "reconcile")
    assert done.returncode == 0, done.stderr
    assert "noticed: version 2 is champion by hand after version 1" in done.stdout
    with watch(checkout, "--every", "0.5") as watching:
        watching.says("looks every 0.5 s ")
        shelf.client.set_registered_model_alias(MODEL, CHAMPION, "1")
        watching.says("noticed: version 1 is champion by hand after version 2")
        watching.says("warning: the gate says no")
        assert watching.end(signal.SIGINT) == 0
    assert watching.log.read_text().endswith("stopped\n")
    assert ganpipe(checkout, "history").returncode == 0
    tag = "ganpipe.decision.20260102T030405.000006Z"
    shelf.client.set_model_version_tag(MODEL, "2", tag, "{torn")
    done = ganpipe(checkout, "history")
    assert done.returncode == 1
    assert "2026-01-02 03:04:05  version 2 was decided on, which cannot be read" in done.stdout
    assert f"the decision {tag} of version 2 is damaged" in done.stdout
    assert done.stdout.count("is champion by hand") == 2
