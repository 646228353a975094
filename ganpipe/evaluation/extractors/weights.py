"""Published weights: found, fetched, and never used unless their sha256 is the one known."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ganpipe.addresses import LOOPBACK
from ganpipe.data.sources.downloads import OFFLINE, PATIENCE
from ganpipe.errors import GanpipeError
from ganpipe.events import progress
from ganpipe.files import replacing, sha256


@dataclass(frozen=True)
class Published:
    """A weights file that somebody published, and how to know that one has it."""

    name: str
    url: str
    sha256: str
    bytes: int


def cache_folder() -> Path:
    """$GANPIPE_CACHE, else $XDG_CACHE_HOME/ganpipe, else ~/.cache/ganpipe."""
    if own := os.environ.get("GANPIPE_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "ganpipe"


def find_weights(published: Published, path: Path | None = None) -> Path:
    """The file at `path` if one is given, else in the cache folder, else downloaded into it.

    Raises GanpipeError when it is not there and cannot be fetched, or has another sha256; the
    message names the file, both digests and what to do.
    """
    if path is not None:
        check_file(published, path)
    place = path or cache_folder() / published.name
    if not place.exists():
        _download(published, place)
    elif (found := sha256(place)) != published.sha256:
        raise GanpipeError(
            f"{place} is not {published.name}: its sha256 is {found}, it must be "
            f"{published.sha256} ({published.bytes:,} bytes). "
            + ("Name another file with evaluate.weights" if path else "Remove it")
            + f", or get it again from {published.url}"
        )
    return place


def check_file(published: Published, path: Path) -> None:
    """Raises GanpipeError where there is no file, and says how to get it."""
    if not path.is_file():
        raise GanpipeError(f"evaluate.weights={path} is no file. {_by_hand(published, path)}")


def load_weights(published: Published, path: Path | None = None) -> dict[str, Any]:
    """The tensors of a published file by name, without running any code that a pickle may hold."""
    import torch

    place = find_weights(published, path)
    state: dict[str, Any] = torch.load(place, map_location="cpu", weights_only=True)
    return state


def _download(published: Published, place: Path) -> None:
    import httpx

    if os.environ.get(OFFLINE) == "1":
        raise GanpipeError(f"{place} is not there, and {OFFLINE}=1. {_by_hand(published, place)}")
    digest = hashlib.sha256()
    client = httpx.Client(
        follow_redirects=True,
        timeout=PATIENCE,
        # proxies of the environment lead away from this machine
        trust_env=urlsplit(published.url).hostname not in LOOPBACK,
    )
    title = f"downloading {published.name}"
    try:
        with (
            client,
            replacing(place) as beside,
            client.stream("GET", published.url) as response,
            beside.open("wb") as file,
            progress("weights", title, published.bytes, "bytes") as bar,
        ):
            response.raise_for_status()
            for block in response.iter_bytes(2**20):
                digest.update(block)
                file.write(block)
                bar.advance(len(block))
            if digest.hexdigest() != published.sha256:
                raise GanpipeError(
                    f"{published.url} sent a file with sha256 {digest.hexdigest()}, it must be "
                    f"{published.sha256}: nothing was kept. {_by_hand(published, place)}"
                )
    except (httpx.HTTPError, OSError) as error:
        raise GanpipeError(
            f"{place} is not there and could not be downloaded ({error or type(error).__name__}). "
            f"{_by_hand(published, place)}"
        ) from None


def _by_hand(published: Published, place: Path) -> str:
    return (
        f"Fetch {published.url} ({published.bytes:,} bytes, sha256 {published.sha256}) on another "
        f"machine and put it at {place}, or name it with evaluate.weights"
    )
