"""What a stage tells whoever watches it: a bar on a terminal, lines elsewhere, events for a flow.

A stage that runs under a flow (GANPIPE_EVENTS=1) prints, beside its lines for people, lines
that start with PREFIX and hold one JSON object. Its `event` is one of

    start     the stage's code really runs (a cached stage never says so)
    progress  done, total (float), unit, rate (text, may be empty)
    history   path of the history.jsonl that grows while a stage trains, beside its speed.jsonl
    written   destination, made and description: `ganpipe generate` has ended
    error     message for the user, causes: the stage ends with exit code 2
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PREFIX = "::ganpipe "
VARIABLE = "GANPIPE_EVENTS"
SPEED = "speed.jsonl"  # images per second and memory: they differ from run to run
SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_SHOWS = 0.2


def emit(stage: str, event: str, **values: Any) -> None:
    """Print one event, if somebody asked for events; an error with the causes of its exception."""
    if os.environ.get(VARIABLE) == "1":
        if event == "error":
            values["causes"] = causes(sys.exception())
        line = json.dumps({"stage": stage, "event": event, **values})
        sys.stdout.write(f"{PREFIX}{line}\n")
        sys.stdout.flush()


def causes(error: BaseException | None) -> list[str]:
    """The classes of an exception and of all that led to it, with HTTP statuses: `HTTPError 503`.

    What a watcher decides by whether the same may work in a minute.
    """
    found: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        answer = getattr(error, "response", None)  # of httpx and requests
        statuses = (
            getattr(each, name, None)
            for each, name in ((error, "status"), (error, "code"), (answer, "status_code"))
        )
        status = next((each for each in statuses if each), None)
        told = f" {status}" if isinstance(status, int) else ""
        found.append(f"{type(error).__name__}{told}")
        error = error.__cause__ or error.__context__
    return found


def parse(line: str) -> dict[str, Any] | None:
    """The event that a line of output carries, or None when it is a line for people."""
    if not line.startswith(PREFIX):
        return None
    try:
        event = json.loads(line.removeprefix(PREFIX))
    except ValueError:
        return None  # a name that somebody else chose may look like anything
    return event if isinstance(event, dict) and "event" in event else None


class Progress:
    """Counts up to a total and shows it. Make it with `progress()`."""

    def __init__(self, stage: str, title: str, total: float, unit: str) -> None:
        self.stage, self.title, self.total, self.unit = stage, title, total, unit
        self._began = self._printed = time.monotonic()
        self._done = self._skipped = 0.0
        self._ended = False
        self._shown = self._began
        self._bar: Any = None
        self._task: Any = None
        if sys.stdout.isatty():
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                TextColumn,
                TimeRemainingColumn,
            )
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit),
                TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(),
            )
            self._task = self._bar.add_task(title, total=total, note="")
            self._bar.start()

    def skip(self, done: float) -> None:
        """So much was done before the clock started, so it says nothing about the rate."""
        self._skipped = self._done = done
        if done >= self.total:
            self.update(done)

    def advance(self, by: float = 1.0) -> None:
        """So much more is done."""
        self._done += by
        now = time.monotonic()
        if self._done >= self.total or now - self._shown >= SECONDS_BETWEEN_SHOWS:
            self._shown = now
            self.update(self._done, self._pace(now))

    def _pace(self, now: float) -> str:
        """Like `3,120 a second, 1:05 left`."""
        fresh, seconds = self._done - self._skipped, now - self._began
        if fresh <= 0 or seconds < SECONDS_BETWEEN_SHOWS:
            return ""
        rate = fresh / seconds
        left = round((self.total - self._done) / rate)
        remaining = f", {left // 60}:{left % 60:02d} left" if left else ""
        return f"{rate:,.0f} a second{remaining}"

    def update(self, done: float, note: str = "") -> None:
        """`done` of the total so far; `note` is shown beside it (a rate, a loss)."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        last = done >= self.total and not self._ended
        if last or now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            self._ended = self._ended or last
            line = f"{self.title}: {done:g} of {self.total:g} {self.unit}  {note}"
            sys.stdout.write(f"{line.rstrip()}\n")
            sys.stdout.flush()
            emit(self.stage, "progress", done=done, total=self.total, unit=self.unit, rate=note)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def progress(stage: str, title: str, total: float, unit: str = "images") -> Iterator[Progress]:
    """Show the progress of a loop: `with progress(...) as bar: bar.update(done)`."""
    bar = Progress(stage, title, total, unit)
    try:
        yield bar
    finally:
        bar.close()
