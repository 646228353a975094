"""Who may ask: on loopback anybody, from elsewhere whoever has the token."""

from __future__ import annotations

import hmac
import ipaddress
import os
from pathlib import Path

from ganpipe.errors import GanpipeError

TOKEN_VARIABLE = "GANPIPE_SERVICE_TOKEN"  # noqa: S105 - its name, not its value


def read_token(file: Path | None) -> str:
    """The token of a file, else of the environment; empty when there is neither.

    Never from the command line, which every user of a machine can read. Raises GanpipeError for
    a file that is missing or empty, and for a token that no header can carry.
    """
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    where = TOKEN_VARIABLE
    if file is not None:
        where = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise GanpipeError(f"--token-file {file} cannot be read: {error}") from error
        if not token:
            raise GanpipeError(f"--token-file {file} is empty: write a token into it")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise GanpipeError(f"the token in {where} must be printable ASCII without spaces")
    return token


def check_host(host: str, token: str, *, without_token: bool) -> None:
    """Raise GanpipeError for an address that others reach, unless they need a token."""
    if not (token or without_token or _is_loopback(host)):
        raise GanpipeError(
            f"--host {host} lets other machines in: name a file that holds a token with "
            f"--token-file (or set {TOKEN_VARIABLE}), or say --without-token"
        )


def allowed(token: str, given: str | None) -> bool:
    """Whether a request's bearer token opens the service; compared in constant time."""
    return not token or hmac.compare_digest(token.encode(), (given or "").encode())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
