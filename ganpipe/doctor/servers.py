"""Prefect's and MLflow's servers: whether they answer, and with which version."""

from __future__ import annotations

import os
import urllib.error
from base64 import b64encode
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from ganpipe import addresses
from ganpipe.doctor.check import Check
from ganpipe.errors import GanpipeError
from ganpipe.workspace import state_folder

SECONDS_TO_ANSWER = 6.0


def servers(repo: Path) -> Iterator[Check]:
    """Those that the environment names, else those of `make ui`."""
    state = state_folder(repo)
    found = addresses.read(state)
    yield prefect(os.environ.get("PREFECT_API_URL") or found.get("prefect"))
    from ganpipe.tracking import check

    uri = os.environ.get("MLFLOW_TRACKING_URI") or found.get("mlflow")
    if not uri:
        database = state / "mlflow" / "mlflow.db"
        yield Check("MLflow", "ok", f"no server; recorded in {database}")
        return
    try:
        check(uri)
    except GanpipeError as error:
        yield Check("MLflow", "fail", f"{uri} is not reachable", str(error))
        return
    if not uri.startswith(("http:", "https:")):
        yield Check("MLflow", "ok", f"{uri} answers")
        return
    login = [os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD")]
    yield _versions("MLflow", uri, "version", ":".join(login) if all(login) else "")


def prefect(url: str | None) -> Check:
    """Whether Prefect's API answers at `url`."""
    if not url:
        return Check("Prefect", "ok", "no server; each run brings its own")
    remedy = "start it (`make ui`), correct PREFECT_API_URL, or unset it to run without"
    try:
        healthy = _get(f"{url}/health").strip() == "true"
    except urllib.error.HTTPError as error:
        healthy = error.code in (401, 403)  # a server that wants a password is there
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Check("Prefect", "fail", f"{url} is not reachable ({reason})", remedy)
    if not healthy:
        return Check("Prefect", "fail", f"something else answers at {url}", remedy)
    login = os.environ.get("PREFECT_API_AUTH_STRING", "")
    return _versions("Prefect", url, "admin/version", login)


def _versions(name: str, url: str, route: str, login: str) -> Check:
    """Whether the server at `url` is of the version that is installed here."""
    here = version(name.lower())
    try:
        there = _get(f"{url.rstrip('/')}/{route}", login).strip().strip('"')
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
        login_is = {
            "Prefect": "PREFECT_API_AUTH_STRING",
            "MLflow": "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        }[name]
        remedy = f"set {login_is} if it wants a login, and look at its log"
        return Check(name, "warn", f"{url} answers, but not with its version ({reason})", remedy)
    if there == here:
        return Check(name, "ok", f"{url} answers, version {there} as here")
    remedy = "install the same version on both, on the server first (README: To upgrade)"
    return Check(name, "warn", f"{url} has version {there}, here is {here}", remedy)


def _get(url: str, login: str = "") -> str:
    asking = addresses.opener(url)
    if login:
        told = b64encode(login.encode()).decode()
        asking.addheaders = [("Authorization", f"Basic {told}")]
    with asking.open(url, timeout=SECONDS_TO_ANSWER) as answer:
        text: str = answer.read(10_000).decode("utf-8", "replace")
        return text
