"""What a run shows in Prefect: a bar for each running stage, and a report with its picture."""

from __future__ import annotations

import base64
import io
import time
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectHTTPStatusError

from ganpipe.data.report import PAGE, PICTURE, SUMMARY

SECONDS_BETWEEN_UPDATES = 2.0
MAX_PICTURE_CHARACTERS = 150_000  # of the data URI: it is stored in Prefect's database


class StageProgress:
    """A progress artifact that follows a stage's events, updated every other second at most."""

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
        if self._artifact is not None:
            self._show(100.0, "done")

    def _show(self, percent: float, text: str) -> None:
        description = f"{self.stage}: {text}"
        try:
            if self._artifact is None:
                artifact = create_progress_artifact(percent, description=description)
                self._artifact = cast(UUID, artifact)  # a coroutine only where a loop runs
            else:
                update_progress_artifact(self._artifact, percent, description=description)
        except (httpx.HTTPError, PrefectHTTPStatusError) as error:
            # hours of training must not end because a bar could not move
            get_run_logger().warning(
                "Prefect did not take the progress of %s: %s", self.stage, error
            )


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


def data_markdown(workspace: Path, mlflow_run: str) -> str:
    """What a run learns from: the summary of its data, with the picture in it."""
    folder = workspace / "data" / "report"
    summary = (folder / SUMMARY).read_text(encoding="utf-8")
    picture = inline_picture(folder / PICTURE)
    return (
        f"{summary.replace(f'({PICTURE})', f'({picture})', 1)}\n"
        f"Of this run: `{folder / PAGE}`; once it has ended, also `data/{PAGE}` among the "
        f"artifacts of MLflow run {mlflow_run}.\n"
    )


def report_markdown(workspace: Path, title: str, facts: dict[str, str], told: str) -> str:
    """The report of a finished run: `facts`, its samples, and what the evaluation told."""
    picture = inline_picture(workspace / "report" / "samples.png")
    rows = [("run", ""), ("---", "---")]
    rows += [(name, value.replace("|", "\\|")) for name, value in facts.items()]
    _, _, rest = told.partition("\n")  # its own title
    return "\n".join(
        [
            f"# {title}",
            "",
            *(f"| {left} | {right} |" for left, right in rows),
            "",
            f"![samples]({picture})",
            rest,
        ]
    )
