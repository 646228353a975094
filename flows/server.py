"""What `ganpipe run` and `make ui` start: a Prefect API, MLflow, a worker with the deployments."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from flows import prefect_server, processes, services
from flows.prefect_server import shared_server
from ganpipe import addresses
from ganpipe.errors import GanpipeError
from ganpipe.workspace import environment, repository, state_folder

if TYPE_CHECKING:
    from ganpipe.registry import Move

WORK_POOL = "ganpipe"
DATABASES = ("postgresql", "mysql", "mssql")  # those that MLflow knows beside SQLite


@contextmanager
def embedded(state: Path) -> Iterator[str]:
    """A Prefect API for a run in this process: yields its URL, and PREFECT_API_URL names it.

    $PREFECT_API_URL when it is set, else the server of this checkout, started when none runs.
    Enter it before the first import of Prefect. Raises GanpipeError when a given URL is dead.
    """
    with shared_server(state) as url, variables(prefect_server.settings(state, url)):
        if "prefect.context" in sys.modules:
            sys.modules["prefect.context"].refresh_global_settings_context()
        yield url


def ui(state: Path, prefect_port: int = 0, mlflow_port: int = 0) -> None:
    """Serve Prefect with the deployed flows and a worker, and MLflow, until Ctrl-C or SIGTERM.

    Port 0 is any free one. Addresses are printed, and kept in ui.json while they hold.
    Raises GanpipeError, all stopped, when a port is taken or one of them ends.
    """
    own_prefect = "PREFECT_API_URL" not in os.environ
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            children = _start_all(stack, state, prefect_port, mlflow_port)
            stack.enter_context(_registry_watched())
            while True:
                for child in children:
                    child.check()
                if own_prefect:
                    prefect_server.check(state)
                time.sleep(0.5)
    except KeyboardInterrupt:
        _say("stopped")
    finally:
        signal.signal(signal.SIGTERM, previous)


def _start_all(
    stack: ExitStack, state: Path, prefect_port: int, mlflow_port: int
) -> list[services.Service]:
    from flows.deploy import deploy as apply

    repo = repository()
    stack.enter_context(_only_one(state))
    _say("starting Prefect and MLflow, which takes about 15 seconds")
    children = []
    mlflow_url = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not mlflow_url.startswith(("http:", "https:")):
        store = _store(repo, state, mlflow_url)
        mlflow_port = mlflow_port or services.free_port()
        mlflow_url = f"http://{services.HOST}:{mlflow_port}"
        mlflow = _start_mlflow(repo, state, mlflow_port, store)
        stack.callback(processes.stop, mlflow.process)
        children.append(mlflow)
    prefect_url = stack.enter_context(shared_server(state, prefect_port))
    env = {**environment(repo), **prefect_server.settings(state, prefect_url)}
    env["GANPIPE_REPOSITORY"] = str(repo)
    stack.enter_context(variables(env))
    for line in apply(repo, WORK_POOL, env):
        _say(line)
    for child in children:
        child.wait_for(f"{mlflow_url}/health")
    stack.callback(addresses.write(state, prefect_url, mlflow_url).unlink, missing_ok=True)
    worker_command = prefect_server.command(
        "worker", "start", "--pool", WORK_POOL, "--type", "process"
    )
    # flows that it runs need time to end their stages
    worker = services.start(
        "the Prefect worker", worker_command, state=state, cwd=repo, env=env, patience=25.0
    )
    stack.callback(processes.stop, worker.process)
    _say(f"Prefect  {prefect_url.removesuffix('/api')}")
    # MLflow opens with its pages for language models unless told otherwise
    _say(f"MLflow   {mlflow_url}/#/experiments?workflowType=machine_learning")
    _say("Ctrl-C stops both")
    return [*children, worker]


@contextmanager
def _registry_watched() -> Iterator[None]:
    """Meanwhile, what somebody moves in MLflow's own page is put on record within a minute."""
    from flows.locks import promotion_lock
    from flows.registry_events import emit_move
    from ganpipe.registry.place import open_place
    from ganpipe.registry_watch import watch_registry

    there = open_place("", promotion_lock, emit_move)

    def noticed(move: Move) -> None:
        told = "" if move.decision.passed else ", which the gate does not let pass"
        _say(f"{move.model} version {move.version} {move.action}{told}: {move.decision.reason}")

    stop = threading.Event()
    watch = threading.Thread(
        target=watch_registry, args=(stop, there.reconcile, noticed, _say), daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        stop.set()
        watch.join(timeout=5.0)  # it may wait for a lock; the next look completes what it is at


def _store(repo: Path, state: Path, given: str) -> str:
    """The database that MLflow's page shows: the one that MLFLOW_TRACKING_URI names, or our own."""
    sqlite = "sqlite:///"
    if not given:
        return f"{sqlite}{state / 'mlflow' / 'mlflow.db'}"
    if given.startswith(sqlite):
        return f"{sqlite}{repo / given.removeprefix(sqlite)}"  # the server works in another folder
    if given.startswith(DATABASES):
        return given
    raise GanpipeError(
        f"MLFLOW_TRACKING_URI={given} is neither an http address nor a database that MLflow could "
        "show in a page: correct it, or unset it to record into a local database"
    )


def _start_mlflow(repo: Path, state: Path, port: int, store: str) -> services.Service:
    services.check_port(port)
    folder = state / "mlflow"
    artifacts = folder / "artifacts"
    artifacts.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", services.HOST, "--port", str(port)]
    command += ["--backend-store-uri", store, "--workers", "1"]
    # a plain folder instead of the server's proxy: the database is also used without the server
    command += ["--default-artifact-root", artifacts.as_uri()]
    command += ["--artifacts-destination", artifacts.as_uri()]
    # its job queue is nine processes that serve features for language models
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    env = {**environment(repo), **quiet}
    return services.start("the MLflow server", command, state=state, cwd=state, env=env)


def deploy(repo: Path, replace: bool = False) -> None:
    """Apply infra/ to the server of $PREFECT_API_URL, else of this checkout, and print what it did.

    With `replace`, also where somebody edited a default or a schedule on the server.
    """
    from flows.deploy import deploy as work

    with embedded(state_folder(repo)) as url:
        env = {**environment(repo), "GANPIPE_REPOSITORY": str(repo)}
        for line in work(repo, WORK_POOL, env, replace):
            _say(line)
        _say(f"{url} has the deployments, limits and automations of {repo / 'infra'}")


@contextmanager
def _only_one(state: Path) -> Iterator[None]:
    state.mkdir(parents=True, exist_ok=True)
    with (state / "ui.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GanpipeError(
                f"`make ui` runs already in this checkout: its addresses are in {state / 'ui.json'}"
            ) from None
        yield


@contextmanager
def variables(values: dict[str, str]) -> Iterator[None]:
    """Environment variables that hold in the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
