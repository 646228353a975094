"""Prefect's and MLflow's servers."""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Iterator
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
    else:
        yield Check("MLflow", "ok", f"{uri} answers")


def prefect(url: str | None) -> Check:
    """Whether Prefect's API answers at `url`."""
    if not url:
        return Check("Prefect", "ok", "no server; each run brings its own")
    remedy = "start it (`make ui`), correct PREFECT_API_URL, or unset it to run without"
    try:
        health = f"{url}/health"
        with addresses.opener(health).open(health, timeout=SECONDS_TO_ANSWER) as answer:
            healthy = answer.read().strip() == b"true"
    except urllib.error.HTTPError as error:
        healthy = error.code in (401, 403)  # a server that wants a password is there
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return Check("Prefect", "fail", f"{url} is not reachable ({reason})", remedy)
    if not healthy:
        return Check("Prefect", "fail", f"something else answers at {url}", remedy)
    return Check("Prefect", "ok", f"{url} answers")
