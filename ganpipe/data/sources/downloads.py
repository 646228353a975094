"""Fetching published data sets with torchvision, which knows their addresses and checksums."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpipe.errors import GanpipeError

OFFLINE = "GANPIPE_OFFLINE"  # set to 1 where nothing may be fetched
PATIENCE = 30.0  # seconds without a byte; torchvision sets no limit, so a silent network hangs it


def download_folder(name: str) -> Path:
    """Where the files of a data set are kept, in the state folder of the repository."""
    return Path(os.environ.get("GANPIPE_STATE", ".ganpipe")) / "downloads" / name


@contextmanager
def downloading(title: str, remedy: str) -> Iterator[None]:
    """Turns what a failed download raises into a GanpipeError that says what to do instead."""
    if os.environ.get(OFFLINE) == "1":
        raise GanpipeError(f"{title} is not on this machine, and {OFFLINE}=1. {remedy}")
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise GanpipeError(
            f"{title} is not on this machine and could not be downloaded ({error}). {remedy}"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def fetch(url: str, path: Path, md5: str) -> None:
    """Download a file and check it; it appears whole or not at all."""
    from torchvision.datasets.utils import download_url

    partial = path.with_name(f"{path.name}.partial")
    download_url(url, str(path.parent), partial.name, md5)
    partial.replace(path)
