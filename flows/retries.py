"""Asks again where a source, a bucket or MLflow did not answer; nothing else is tried again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TypeVar

from prefect import get_run_logger
from prefect.runtime import deployment

from ganpipe.errors import GanpipeError
from ganpipe.events import causes

WAITS = (5.0, 15.0, 40.0)  # seconds before each further attempt: an outage of a minute is outlived
# what the libraries call a server that cannot be reached, or that went away in mid-answer:
# requests, urllib3, httpx, aiohttp, botocore, and Python itself
OUTAGES = frozenset(
    (
        *("ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "ChunkedEncodingError"),
        *("MaxRetryError", "NewConnectionError", "ProtocolError", "ReadTimeoutError"),
        *("ConnectError", "ReadError", "WriteError", "RemoteProtocolError", "PoolTimeout"),
        *("ClientConnectorError", "ServerDisconnectedError", "ClientOSError", "ClientPayloadError"),
        *("ServerTimeoutError", "SocketTimeoutError", "ConnectionTimeoutError"),
        *("EndpointConnectionError", "ConnectTimeoutError", "ConnectionClosedError"),
        *("ConnectionRefusedError", "ConnectionResetError", "ConnectionAbortedError"),
        *("TimeoutError", "SSLEOFError"),
    )
)
STATUS = "408|429|500|502|503|504"
# where only words are left: our own of an MLflow that is down, MLflow's of a status
TOLD = re.compile(rf"MLflow at \S+ does not answer \((?!status 4)|error code ({STATUS})\b")

Done = TypeVar("Done")


class StageError(GanpipeError):
    """What a stage in a process of its own said, with the classes of what led to it."""

    def __init__(self, message: str, causes: list[str]) -> None:
        super().__init__(message)
        self.causes = causes


def is_outage(error: BaseException) -> bool:
    """Whether a problem may be gone in a minute: somebody who should answer did not.

    Never for memory, a full disk, gates or images: the same would happen again.
    """
    chain = error.causes if isinstance(error, StageError) else causes(error)
    named = (each.partition(" ") for each in chain)
    return bool(TOLD.search(str(error))) or any(
        name in OUTAGES or re.fullmatch(STATUS, status) for name, _, status in named
    )


def patiently(work: Callable[[], Done], waits: tuple[float, ...] = WAITS) -> Done:
    """Do work, and do it again after an outage, where nobody sits before the run to do so.

    In runs of a deployment; `ganpipe run` tells its user at once. Raises GanpipeError as `work`.
    """
    for seconds in waits if deployment.id else ():
        try:
            return work()
        except GanpipeError as problem:
            if not is_outage(problem):
                raise
            get_run_logger().warning("%s\ntries again in %g s", problem, seconds)
        time.sleep(seconds)
    return work()
