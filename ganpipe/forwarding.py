"""Forwards a growing history.jsonl to MLflow: live while a stage trains, replayed when cached.

The speed.jsonl beside it is forwarded too while it grows; a cached stage has none.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ganpipe.errors import GanpipeError
from ganpipe.events import SPEED
from ganpipe.tracking import connect, first_line, is_number, milliseconds

if TYPE_CHECKING:
    from mlflow.entities import Metric

POLL_SECONDS = 2.0
METRICS_PER_BATCH = 1000  # all that MLflow takes in one request

log = logging.getLogger(__name__)


class HistoryForwarder:
    """Sends the lines of a history.jsonl to a run as metrics, step = images shown.

    An outage of MLflow loses nothing: points wait in order until it answers again. A point that
    was sent with the same value is not sent twice, so a resumed or replayed file costs nothing.
    """

    def __init__(self, uri: str, run_id: str) -> None:
        self.uri, self.run_id = uri, run_id
        self._waiting: deque[Metric] = deque()
        self._seen: dict[tuple[str, int], float] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._defect: Exception | None = None
        self._followed: list[Lines] = []

    def follow(self, path: Path | str) -> None:
        """Start to forward a file that grows (it may not exist yet); returns at once."""
        self.stop()
        self._stop = threading.Event()
        self._followed = [Lines(Path(path)), Lines(Path(path).with_name(SPEED))]
        self._thread = threading.Thread(target=self._run, name="history-forwarder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End following without sending more; points that wait are kept for `finish`."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def finish(self, path: Path | str) -> None:
        """Send every point of a finished file that MLflow does not have yet.

        Also the way to replay the history of a stage that came from the cache.
        Raises GanpipeError when MLflow cannot be reached.
        """
        self.stop()
        if self._defect is not None:
            raise self._defect
        from mlflow.exceptions import MlflowException

        for lines in (Lines(Path(path)), *self._followed[1:]):
            self._read(lines)
        try:
            self._send()
        except MlflowException as error:
            raise GanpipeError(
                f"{len(self._waiting)} points of {path} did not reach MLflow run {self.run_id} "
                f"at {self.uri} ({first_line(error)}): start MLflow and run again, "
                "trained stages come from the cache"
            ) from error

    def _run(self) -> None:
        from mlflow.exceptions import MlflowException

        warned = False
        try:
            while not self._stop.wait(POLL_SECONDS):
                for lines in self._followed:
                    self._read(lines)
                try:
                    self._send()
                    warned = False
                except MlflowException as error:
                    if not warned:
                        log.warning(
                            "MLflow at %s does not answer (%s): the curves wait",
                            self.uri,
                            first_line(error),
                        )
                    warned = True
        except Exception as error:  # noqa: BLE001 - a thread cannot raise: finish() does
            self._defect = error

    def _read(self, lines: Lines) -> None:
        from mlflow.entities import Metric

        for line in lines.new():
            record = json.loads(line)
            step = int(record["images"])
            for key, value in record.items():
                if key in ("images", "kimg") or not is_number(value):
                    continue
                if not _same(self._seen.get((key, step)), value):
                    self._seen[key, step] = value
                    # one timestamp for all attempts: MLflow's key includes it, so a batch that
                    # arrived although its answer was lost is not stored twice
                    self._waiting.append(Metric(key, float(value), milliseconds(), step))

    def _send(self) -> None:
        while self._waiting and not self._stop_requested():
            batch = list(islice(self._waiting, METRICS_PER_BATCH))
            connect(self.uri).log_batch(self.run_id, metrics=batch)
            for _ in batch:
                self._waiting.popleft()

    def _stop_requested(self) -> bool:
        return self._thread is not None and self._stop.is_set()


class Lines:
    """The complete lines that a growing file gained since the last look.

    A file that was truncated, or replaced by another, is read again from its start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._last = b""

    def new(self) -> list[bytes]:
        """Lines with their newline; none while the file does not exist."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            # a resumed run truncates and goes on: what stands before the offset tells
            file.seek(self._offset - len(self._last))
            if file.read(len(self._last)) != self._last:
                self._offset, self._last = 0, b""
                file.seek(0)
            lines = file.read().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        if lines:
            self._offset += sum(map(len, lines))
            self._last = lines[-1]
        return lines


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))
