"""The one Prefect server that all processes of a checkout share.

Two servers on one SQLite file lock each other out, so whoever comes second uses the first's:
each user holds a shared lock on `users.lock`, and the server's guard ends it when nobody does
(the kernel drops the lock of a process however it dies). `start.lock` lets only one start it.

Prefect reads its environment when it is imported, so this module does not import it.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import Request

from flows import processes, services
from ganpipe import addresses
from ganpipe.addresses import opener
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, write_json
from ganpipe.processes import is_alive, started


def command(*arguments: str) -> list[str]:
    """Command line of Prefect's own command in this Python."""
    return [sys.executable, "-m", "prefect", *arguments]


def settings(state: Path, url: str) -> dict[str, str]:
    """Environment of everything that talks to the Prefect API at `url`."""
    values = {"PREFECT_API_URL": url}
    if os.environ.get("PREFECT_API_URL") != url:
        # a server of the user's own may need the login in the user's own PREFECT_HOME
        values["PREFECT_HOME"] = str(state / "prefect")
        values[addresses.OWN_PREFECT] = url
    # seconds; an automation takes a run that was silent for some of them for dead
    values["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "30"
    return values | {"DO_NOT_TRACK": "true", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@contextmanager
def shared_server(state: Path, port: int = 0) -> Iterator[str]:
    """The API URL of $PREFECT_API_URL, or of this checkout's own server, kept while in use.

    `port` is where an own server must listen (0: any free one). Raises GanpipeError when that
    is impossible.
    """
    if given := os.environ.get("PREFECT_API_URL"):
        if (problem := services.no_answer(f"{given.rstrip('/')}/health")) is not None:
            raise GanpipeError(
                f"the Prefect server at PREFECT_API_URL={given} does not answer ({problem}): "
                "start it, correct the address, or unset PREFECT_API_URL to use an own server"
            )
        try:
            yield given
        finally:
            _send_what_waits()
        return
    home = state / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "users.lock").open("a") as users:
        with (home / "start.lock").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)
            url = _running(home)
            if url is None:
                alone = _alone(users)
                url = _start(state, port)
                if alone:
                    _crash_what_ran(url)
        if port and urlsplit(url).port != port:
            raise GanpipeError(
                f"this checkout's Prefect server runs at {url} already, for another command: "
                f"end that one, or do not ask for port {port}"
            )
        try:
            yield url
        finally:
            _send_what_waits()
            fcntl.flock(users, fcntl.LOCK_UN)
            _wait_for_end(home)


def _send_what_waits() -> None:
    """Send the logs and events that Prefect still holds, while the server is there to take them.

    Prefect sends all events of a process to the server that it knew first, until this.
    """
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)
    EventsWorker.drain_all(timeout=10)


def _start(state: Path, port: int) -> str:
    home = state / "prefect"
    port = port or services.free_port()
    services.check_port(port)
    url = f"http://{services.HOST}:{port}/api"
    env = {**os.environ, **settings(state, url)}
    del env["PREFECT_API_URL"]
    # the page would look for the API on Prefect's usual port, whichever this one is
    env["PREFECT_UI_API_URL"] = "/api"
    # what notifies a person leads to the page
    env["PREFECT_UI_URL"] = url.removesuffix("/api")
    # in memory, a server that is killed forgets who holds a slot, and it stays taken for good
    leases = "prefect.server.concurrency.lease_storage.filesystem"
    env["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] = leases
    env["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] = "false"
    # the newer page asks a third party for settings even with analytics off
    env["PREFECT_SERVER_UI_V2_ENABLED"] = "false"
    server = services.start(
        "the Prefect server",
        [*command("server", "start"), "--host", services.HOST, "--port", str(port)],
        state=state,
        cwd=state,
        env=env,
        users=home / "users.lock",
    )
    try:
        server.wait_for(f"{url}/health")
    except BaseException:
        processes.stop(server.process)
        raise
    pid = server.process.pid
    write_json(home / "server.json", {"url": url, "pid": pid, "started": started(pid)})
    return url


def _alone(users: IO[str]) -> bool:
    """Whether no other process lives that used an earlier server; keeps a shared lock."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        fcntl.flock(users, fcntl.LOCK_SH)
    return True


def _crash_what_ran(url: str) -> None:
    """Mark the runs that went down with an earlier server: nothing else would ever tell.

    Those that somebody was cancelling are not to start again.
    """
    active = {"state": {"type": {"any_": ["RUNNING", "CANCELLING", "PENDING"]}}}
    told = "its process and this server went down while it ran"
    crashed = {"type": "CRASHED", "name": "Crashed", "message": told}
    cancelled = {"type": "CANCELLED", "name": "Cancelled", "message": told}
    for run in _call(f"{url}/flow_runs/filter", {"flow_runs": active}):
        state = cancelled if run["state_type"] == "CANCELLING" else crashed
        _call(f"{url}/flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def _call(url: str, body: dict[str, Any]) -> Any:
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json"})  # noqa: S310
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_header("authorization", f"Basic {b64encode(login.encode()).decode()}")
    with opener(url).open(request, timeout=30) as response:
        return json.load(response)


def _running(home: Path) -> str | None:
    """The URL of this checkout's server, or None when none runs."""
    record = _record(home)
    if record is None or not is_alive(record):
        return None
    url = str(record["url"])
    deadline = time.monotonic() + 30.0
    while (problem := services.no_answer(f"{url}/health")) is not None:
        if not is_alive(record):  # its guard had let go of the lock, and was about to end
            return None
        if time.monotonic() > deadline:
            raise GanpipeError(
                f"this checkout's Prefect server at {url} does not answer ({problem}): "
                f"end it with `kill {record['pid']}` and try again"
            )
        time.sleep(0.5)
    return url


def check(state: Path) -> None:
    """Raise GanpipeError when the server of a `shared_server` block has ended."""
    record = _record(state / "prefect")
    if record is not None and not is_alive(record):
        log = state / "logs" / "prefect-server.log"
        raise GanpipeError(f"the Prefect server ended; the end of {log}:\n{services.tail(log)}")


def _record(home: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = read_json(home / "server.json")
    except FileNotFoundError:
        return None
    return record


def _wait_for_end(home: Path) -> None:
    """Wait until the server is gone, unless others use it."""
    record = _record(home)
    used_since = time.monotonic()
    while record is not None and is_alive(record):
        with (home / "users.lock").open("a") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                used_since = time.monotonic()  # its guard is ending it
        if time.monotonic() - used_since > 1.0:
            return
        time.sleep(0.1)
