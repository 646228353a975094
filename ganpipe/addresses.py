"""The addresses of a checkout's servers, written down while `make ui` runs; how to ask there."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from ganpipe.files import read_json, write_json
from ganpipe.processes import is_alive, own_mark

FILE = "ui.json"
OWN_PREFECT = "GANPIPE_OWN_PREFECT"  # names the Prefect server that ganpipe started for itself
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def write(state: Path, prefect: str, mlflow: str) -> Path:
    """Write the addresses down as this process's, and return the file."""
    write_json(state / FILE, {"prefect": prefect, "mlflow": mlflow, **own_mark()})
    return state / FILE


def read(state: Path) -> dict[str, str]:
    """Addresses by name (prefect, mlflow); none when the process that wrote them is gone.

    A killed `make ui` leaves its file, and anybody may listen at its ports afterwards.
    """
    try:
        written = read_json(state / FILE)
    except FileNotFoundError:
        return {}
    if "pid" not in written or not is_alive(written):
        return {}
    return {name: str(written[name]) for name in ("prefect", "mlflow") if written.get(name)}


def opener(url: str) -> urllib.request.OpenerDirector:
    """What opens `url`: through the environment's proxy, except for this machine itself."""
    local = urlsplit(url).hostname in LOOPBACK
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))
