"""The servers of a checkout: shared, refused with a reason, and gone when nobody needs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import services
from flows.prefect_server import shared_server
from ganpipe import addresses, tracking, workspace
from ganpipe.errors import GanpipeError

pytestmark = pytest.mark.integration

USER = """
import os, sys
from pathlib import Path
from flows.server import embedded
with embedded(Path(sys.argv[1])) as url:
    assert os.environ["PREFECT_API_URL"] == url
    print(url, flush=True)
    sys.stdin.readline()
    from prefect import flow
    print("flow", flow(lambda: 42, name="answer")(), flush=True)
"""

UI = """
import sys
from pathlib import Path
from flows.server import ui
from ganpipe.errors import GanpipeError
try:
    ui(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
except GanpipeError as error:
    sys.exit(f"error: {error}")
"""

RUN = """
import sys
from flows.run import run_pipeline
from ganpipe import params
from ganpipe.errors import GanpipeError
try:
    run_pipeline(params.override(params.load(), sys.argv[1:]))
except GanpipeError as error:
    sys.exit(f"error: {error}")
"""

DEPLOY = """
from flows.server import deploy
from ganpipe.workspace import repository
deploy(repository())
"""

HANGING = """
stages:
  start:
    cmd: python -c "import time; print('hanging', flush=True); time.sleep(600)"
    deps: [data/source.json]
    outs: [data/raw]
"""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLFLOW_", "GIT_", "GANPIPE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def repo(tmp_path: Path, repository_root: Path) -> Path:
    """A copy of this repository in a path with a space, whose first stage hangs."""
    folder = tmp_path / "the repository"
    folder.mkdir()
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("flows", "ganpipe", "infra"):
        shutil.copytree(repository_root / name, folder / name, ignore=ignore)
    for name in ("params.yaml", ".gitignore", ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(repository_root / name, folder / name)
    (folder / "dvc.yaml").write_text(HANGING, encoding="utf-8")
    workspace.git(folder, "init", "--quiet", "--template=")
    workspace.git(folder, "add", ".")
    who = ("-c", "user.name=A Person", "-c", "user.email=person@localhost")
    workspace.git(folder, *who, "commit", "--quiet", "-m", "start")
    return folder


@contextmanager
def running(script: str, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        cwd=folder,
        env=workspace.environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def answer(process: subprocess.Popen[str]) -> str:
    """Let a USER go on, and return all that it says until it ends."""
    return process.communicate("\n", timeout=120)[0]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes_of(folder: Path) -> list[str]:
    """Command lines of the processes that work in or on a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status", "cwd"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        if process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found += [" ".join(words)] * any(str(folder) in word for word in words)
    return found


def is_up(url: str) -> bool:
    return services.no_answer(f"{url}/health") is None


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(url, headers={"content-type": "application/json"})  # noqa: S310
    data = None if body is None else json.dumps(body).encode()
    with addresses.opener(url).open(request, data, timeout=30) as response:
        return json.load(response)


def test_an_unreachable_prefect_server_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{services.free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", url)
    with (
        pytest.raises(GanpipeError, match=f"PREFECT_API_URL={url} does not answer.*unset"),
        shared_server(tmp_path),
    ):
        pass


def test_runs_of_a_checkout_share_a_server_until_the_last_one_ends(
    tmp_path: Path, repository_root: Path
) -> None:
    state = tmp_path / "the state"
    with (
        running(USER, repository_root, str(state)) as first,
        running(USER, repository_root, str(state)) as second,
    ):
        url = line(first)
        assert line(second) == url
        said = answer(first)
        assert "flow 42" in said
        assert "Traceback" not in said
        assert is_up(url)
        assert "flow 42" in answer(second)
    assert not is_up(url)
    assert processes_of(state) == []
    with running(USER, repository_root, str(state)) as third:
        url = line(third)
        assert is_up(url)
        third.send_signal(signal.SIGKILL)
        wait_for(lambda: not is_up(url) and processes_of(state) == [])


@pytest.mark.parametrize("which", ["prefect", "mlflow"])
def test_a_port_in_use_ends_make_ui_with_its_number(repo: Path, which: str) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((services.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = (str(port), "0") if which == "prefect" else ("0", str(port))
        with running(UI, repo, str(repo / ".ganpipe"), *ports) as ui:
            assert f"error: port {port} cannot be used" in answer(ui)
            assert ui.returncode == 1
    assert processes_of(repo) == []


def test_what_the_user_can_mend_ends_a_run_with_its_message_and_no_traceback(repo: Path) -> None:
    (repo / "pictures").mkdir()
    with running(RUN, repo, "data.source=folder", "data.path=pictures") as run:
        said = answer(run)
    assert f"error: data.path={repo / 'pictures'} holds no files" in said
    assert "Traceback" not in said
    assert "NoneType" not in said
    (repo / "pictures" / "a.png").write_text("no image", encoding="utf-8")
    failing = "stages: {start: {cmd: python -m ganpipe stage nothing, deps: [data/source.json]}}"
    (repo / "dvc.yaml").write_text(failing, encoding="utf-8")
    with running(RUN, repo, "data.source=folder", "data.path=pictures") as run:
        said = answer(run)
    assert "error: nothing is no stage" in said
    assert "uncommitted edits pinned as commit" in said
    assert "Traceback" not in said
    assert "NoneType" not in said
    assert processes_of(repo) == []


@pytest.mark.slow
def test_make_ui_leaves_others_alone_and_serves_a_database_of_the_user(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, database = repo / ".ganpipe", f"sqlite:///{tmp_path / 'records.db'}"
    tracking.connect(database).create_experiment("my own")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    with running(UI, repo, str(state), "0", "0") as ui:
        said = ""
        while "Ctrl-C" not in said:
            assert ui.poll() is None, said
            said += line(ui) + "\n"
        found = addresses.read(state)
        assert f"MLflow   {found['mlflow']}" in said
        assert tracking.connect(found["mlflow"]).get_experiment_by_name("my own") is not None
        api = found["prefect"]
        own = call(f"{api}/deployments/name/train/on-demand")
        theirs = {"name": "theirs", "flow_id": own["flow_id"], "parameters": {"lr": 1}}
        call(f"{api}/deployments/", theirs)
        (repo / "params.yaml").write_text("train:\n  kimg: 7\n", encoding="utf-8")
        with running(DEPLOY, repo) as deploy:
            assert deploy.wait(60) == 0, answer(deploy)
        own = call(f"{api}/deployments/name/train/on-demand")
        assert own["parameters"]["train"]["kimg"] == 7
        assert call(f"{api}/deployments/name/train/theirs")["parameters"] == {"lr": 1}
        # its file says who it was: after a kill nobody believes it
        ui.kill()
        ui.wait()
        assert (state / "ui.json").exists()
        assert addresses.read(state) == {}
        wait_for(lambda: processes_of(repo) == [])


def test_make_ui_serves_runs_cancels_and_stops_everything(repo: Path) -> None:
    state = repo / ".ganpipe"
    with running(UI, repo, str(state), "0", "0") as ui:
        said = ""
        while "Ctrl-C" not in said:
            assert ui.poll() is None, said
            said += line(ui) + "\n"
        addresses = json.loads((state / "ui.json").read_text(encoding="utf-8"))
        api = addresses["prefect"]
        assert is_up(addresses["mlflow"])
        page = api.removesuffix("/api")
        assert call(f"{page}/ui-settings")["api_url"] == "/api", "the page asks another server"
        with running(UI, repo, str(state), "0", "0") as second:
            assert "runs already in this checkout" in answer(second)

        deployment = call(f"{api}/deployments/name/train/on-demand")
        assert deployment["parameters"]["data"]["source"] == "digits"
        assert list(deployment["parameters"]) == [
            "data",
            "model",
            "train",
            "evaluate",
            "register",
            "compute",
        ]
        run = call(f"{api}/deployments/{deployment['id']}/create_flow_run", {})
        flow_run = f"{api}/flow_runs/{run['id']}"

        def hangs() -> bool:
            return any("hanging" in each for each in processes_of(state / "workspaces"))

        wait_for(hangs, 120)
        call(f"{flow_run}/set_state", {"state": {"type": "CANCELLING"}})
        wait_for(lambda: not hangs(), 30)
        wait_for(lambda: call(flow_run)["state_type"] == "CANCELLED")

        run = call(f"{api}/deployments/{deployment['id']}/create_flow_run", {})
        wait_for(hangs, 120)
        ui.send_signal(signal.SIGTERM)
        assert ui.wait(60) == 0
    assert processes_of(repo) == []
    assert not (state / "ui.json").exists()
