"""Listens to MLflow's webhooks: one that is signed says that somebody moved an alias."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response

from ganpipe.errors import GanpipeError
from ganpipe.service.body import LimitedBody

SECRET_VARIABLE = "GANPIPE_WEBHOOK_SECRET"  # noqa: S105 - its name, not its value
FRESH_SECONDS = 300  # an older one may be somebody's recording
log = logging.getLogger(__name__)


@contextmanager
def listening(address: str, called: Callable[[], None]) -> Iterator[str]:
    """Call `called` for every webhook that MLflow sends to HOST:PORT, until the block ends.

    Yields the URL. Webhooks must be signed with the secret in GANPIPE_WEBHOOK_SECRET; others get
    status 401. Raises GanpipeError without that secret, and for an address that cannot be used.
    """
    secret = os.environ.get(SECRET_VARIABLE, "")
    if not secret:
        raise GanpipeError(
            f"--listen {address} needs the secret that MLflow signs its webhook with: set "
            f"{SECRET_VARIABLE}"
        )
    with _socket(address) as listener:
        # a port that was 0 is another one by now
        url = f"http://{address.rpartition(':')[0]}:{listener.getsockname()[1]}/"
        config = uvicorn.Config(
            build(secret, called),
            access_log=False,
            log_level="warning",
            server_header=False,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()


def build(secret: str, called: Callable[[], None]) -> FastAPI:
    """What answers MLflow's webhooks, at any path: 204, or 401 for one that is not MLflow's."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(LimitedBody)

    @app.post("/{path:path}")
    async def webhook(request: Request) -> Response:
        problem = refusal(secret, request.headers, await request.body(), time.time())
        if problem:
            log.warning("a webhook was refused: %s", problem)  # MLflow tells nobody
            raise HTTPException(401, problem)
        called()
        return Response(status_code=204)

    return app


def refusal(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Why a request is no webhook of MLflow's with that secret; empty when it is one.

    As MLflow 3 signs: v1, then base64 of HMAC-SHA256 over `<delivery id>.<timestamp>.<body>`.
    """
    delivery, sent, given = (
        headers.get(f"x-mlflow-{part}", "") for part in ("delivery-id", "timestamp", "signature")
    )
    signed = f"{delivery}.{sent}.".encode() + body
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    if not hmac.compare_digest(f"v1,{b64encode(digest).decode()}".encode(), given.encode()):
        return f"it is not signed with {SECRET_VARIABLE}"
    age = now - int(sent)
    return "" if abs(age) <= FRESH_SECONDS else f"it is {age:.0f} s old"


def _socket(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise GanpipeError(f"--listen {address!r} is no HOST:PORT, such as 127.0.0.1:8900")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family)
    except OSError as error:
        raise GanpipeError(
            f"cannot listen at {address} ({error.strerror}): name another port, or 0 for a free one"
        ) from error
