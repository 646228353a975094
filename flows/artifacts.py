"""Artifacts on a run's page in Prefect: bars, Markdown that changes in place, inlined pictures."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    ArtifactFilterType,
)
from prefect.client.schemas.objects import Artifact
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run as runtime

SECONDS_BETWEEN_UPDATES = 2.0
SECONDS_AFTER_AN_OUTAGE = 30.0
MAX_PICTURE_CHARACTERS = 150_000  # of the data URI: it is stored in Prefect's database


class MarkdownInPlace:
    """One Markdown artifact of a flow run, which changes instead of gaining versions.

    A flow run that is tried again finds the one that it has.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        self._artifact: UUID | None = None

    def show(self, text: str, description: str, *, make: bool = True) -> None:
        """Show the text from now on; without `make` only where there is such an artifact already.

        The work goes on where Prefect does not take it.
        """
        try:
            with get_client(sync_client=True) as client:
                if self._artifact is None:
                    self._artifact = self._find(client)
                if self._artifact is not None:
                    change = ArtifactUpdate(data=text, description=description)
                    client.update_artifact(self._artifact, change)
                    return
            if not make:
                return
            made = create_markdown_artifact(text, key=self.key, description=description)
            self._artifact = cast(UUID, made)  # a coroutine only where a loop runs
        except ObjectNotFound:
            self._artifact = None  # somebody deleted it
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            get_run_logger().warning(
                "Prefect does not show the %s of this run: %s", self.key, error
            )

    def _find(self, client: SyncPrefectClient) -> UUID | None:
        found = _of_this_run(client, key=ArtifactFilterKey(any_=[self.key]))
        return found[0].id if found else None


def _of_this_run(client: SyncPrefectClient, **wanted: Any) -> list[Artifact]:
    """This flow run's artifacts that a filter finds, those of its earlier attempts too."""
    if runtime.id is None:
        return []
    own = ArtifactFilterFlowRunId(any_=[UUID(runtime.id)])
    return client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=own, **wanted))


class StageProgress:
    """A progress artifact that follows a stage's events, updated every other second at most.

    A flow run that is tried again finds the bar of the stage that it has.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._artifact: UUID | None = None
        self._updated = float("-inf")

    def on_event(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if event["event"] != "progress" or now - self._updated < SECONDS_BETWEEN_UPDATES:
            return
        self._updated = now
        total = float(event["total"])
        share = 100.0 * float(event["done"]) / total if total > 0 else 0.0
        parts = (f"{event['done']:g} of {total:g} {event['unit']}", str(event["rate"]))
        self._show(min(share, 100.0), ", ".join(part for part in parts if part))

    def close(self) -> None:
        """The stage is done: fill the bar, if there ever was one."""
        self._show(100.0, "done", make=False)

    def _show(self, percent: float, text: str, *, make: bool = True) -> None:
        description = f"{self.stage}: {text}"
        try:
            if self._artifact is None:
                self._artifact = self._find()
            if self._artifact is None:
                if not make:
                    return
                artifact = create_progress_artifact(percent, description=description)
                self._artifact = cast(UUID, artifact)  # a coroutine only where a loop runs
            else:
                update_progress_artifact(self._artifact, percent, description=description)
        except ObjectNotFound:
            self._artifact = None  # somebody deleted it
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            # hours of training must not end because a bar could not move
            self._updated = time.monotonic() + SECONDS_AFTER_AN_OUTAGE
            get_run_logger().warning(
                "Prefect did not take the progress of %s: %s", self.stage, error
            )

    def _find(self) -> UUID | None:
        # without a key, which would show it on the page of all runs' artifacts
        with get_client(sync_client=True) as client:
            bars = _of_this_run(client, type=ArtifactFilterType(any_=["progress"]))
        own = [bar.id for bar in bars if str(bar.description).startswith(f"{self.stage}: ")]
        return own[0] if own else None


def inline_picture(path: Path, limit: int = MAX_PICTURE_CHARACTERS) -> str:
    """A picture as a data URI of at most `limit` characters, recompressed or shrunk to fit."""
    from PIL import Image

    with Image.open(path) as opened:
        opened.load()
        picture = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
    uri = _data_uri(path.read_bytes(), f"image/{(opened.format or 'png').lower()}")
    while len(uri) > limit:
        for options in ({"lossless": True}, {"quality": 90}, {"quality": 75}):
            uri = _data_uri(_webp(picture, options), "image/webp")
            if len(uri) <= limit:
                return uri
        picture = picture.reduce(2)
    return uri


def _webp(picture: Any, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", **options)
    return buffer.getvalue()


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
