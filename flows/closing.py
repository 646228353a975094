"""The end of a run in MLflow: what the run came to is there already, and matters more."""

from __future__ import annotations

from typing import Literal

from prefect import get_run_logger

from flows.retries import WAITS, patiently
from ganpipe import tracking
from ganpipe.errors import GanpipeError


def close(uri: str, run: str, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
    """Close a run in MLflow; where MLflow does not answer that is a warning.

    After a good end it is waited for. One that goes down does not wait: nobody knows how long
    its process may live.
    """
    end = tracking.named_outages(uri)(lambda: tracking.end_run(uri, run, status))
    try:
        patiently(end, WAITS if status == "FINISHED" else ())
    except GanpipeError as error:
        get_run_logger().warning("MLflow run %s stays open: %s", run, error)
