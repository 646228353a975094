"""The service's process: its socket, its threads, its log, its end."""

from __future__ import annotations

import copy
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ganpipe.errors import GanpipeError

END_SECONDS = 30  # for requests under way when the service is told to end


@dataclass(frozen=True)
class Limits:
    """What the service takes on."""

    most: int = 256
    """Images for each request."""
    running: int = 0
    """Requests that make images at once; 0: as many as the cores have threads for."""
    waiting: int = 32
    """Requests that wait for their turn."""
    threads: int = 1
    """Torch's, for each running request. More wait for each other wherever cores are shared, and
    one gives the same bytes on machines with any number of cores."""
    kept: int = 1000
    """Samples that are kept of what is served, where a folder for them is given."""


def serve(
    model: str,
    uri: Callable[[], str],
    cache: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str = "",
    poll: float = 5.0,
    limits: Limits | None = None,
    samples: Path | None = None,
) -> None:
    """Serve a model over HTTP until SIGTERM or Ctrl-C; requests under way are finished.

    Some of what it makes is kept in the folder `samples`, where one is given. Raises GanpipeError
    for an unknown model and for an address that cannot be listened at.
    """
    import torch
    import uvicorn

    from ganpipe.compute import cores
    from ganpipe.service.app import build
    from ganpipe.service.kept import Samples
    from ganpipe.service.models import Models
    from ganpipe.service.queue import WorkQueue

    limits = limits or Limits()
    with _listening(host, port) as listener:
        torch.set_num_threads(limits.threads)
        running = limits.running or max(1, cores() // limits.threads)
        kept = Samples(samples, limits.kept) if samples is not None else None
        models = Models(model, uri, cache, poll)
        queue = WorkQueue(running, limits.waiting)
        app = build(models, queue, token=token, most=limits.most, kept=kept)
        config = uvicorn.Config(
            app,
            access_log=False,
            server_header=False,
            log_config=_logging(),
            timeout_graceful_shutdown=END_SECONDS,
        )
        where = f"[{host}]" if ":" in host else host
        served = models.current
        print(
            f"{served.name} version {served.version} at "
            f"http://{where}:{listener.getsockname()[1]}/ (Ctrl-C ends)",
            flush=True,
        )
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket of its own: uvicorn would end the process with a line of its log."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends at once, rather than wait 40 ms for an answer, only where the protocol is named
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise GanpipeError(
            f"cannot listen at {host} port {port} ({error.strerror}): name another --port, or 0 "
            "for a free one"
        ) from error
    return listener


def _logging() -> dict[str, object]:
    """Uvicorn's own, with warnings of ganpipe written alike."""
    from uvicorn.config import LOGGING_CONFIG

    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["ganpipe"] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    config["loggers"]["uvicorn.error"]["level"] = "WARNING"
    return config
