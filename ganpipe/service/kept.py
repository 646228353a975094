"""A bounded part of what was served, on disk, so that somebody can look whether it is still good.

Only samples as the model is measured by: of any class, without truncation. A full store gives a
random place to each new sample, so it forgets gradually and holds many requests (Aggarwal, "On
biased reservoir sampling in the presence of stream evolution", VLDB 2006).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganpipe.drift import served
from ganpipe.errors import GanpipeError
from ganpipe.files import replacing

if TYPE_CHECKING:
    from ganpipe.service.models import Served

SECONDS = 60.0
log = logging.getLogger(__name__)


class Samples:
    """The newest samples of the model that is served, in a folder of this service's own."""

    def __init__(self, folder: Path, most: int, seconds: float = SECONDS) -> None:
        """Keep `most` images; written at most every `seconds`, and when `close` is called.

        Raises GanpipeError for a folder that cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GanpipeError(f"--keep-samples {folder}: {error}: name another folder") from error
        self.folder, self.most, self.seconds = folder, most, seconds
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._images: list[NDArray[np.uint8]] = []
        self._sha256 = ""
        self._written = float("-inf")
        self._changed = False
        self._random = random.Random()  # noqa: S311 - keeps no secret

    def add(self, of: Served, images: NDArray[np.uint8]) -> None:
        """Take samples uint8 [n, H, W, C] of a model; those of another one are forgotten."""
        with self._lock:
            if of.sha256 != self._sha256:
                self._begin(of.sha256)
            for image in images:
                if len(self._images) < self.most:
                    self._images.append(image.copy())
                else:
                    self._images[self._random.randrange(self.most)] = image.copy()
            self._changed = True
            due = time.monotonic() - self._written >= self.seconds
            if due:
                self._written = time.monotonic()
        if due:
            self._write()

    def close(self) -> None:
        """Write what was not written yet."""
        if self._changed:
            self._write()

    def _begin(self, sha256: str) -> None:
        """Go on with what an earlier process kept of this model."""
        self._sha256, self._images = sha256, []
        path = served.path_of(self.folder, sha256)
        if path.is_file():
            try:
                self._images = list(served.read(path)[-self.most :])
            except GanpipeError as problem:
                log.warning("%s", problem)
        self._written = float("-inf")

    def _write(self) -> None:
        """The disk may be slow: meanwhile others take their samples in."""
        with self._writing:
            with self._lock:
                path = served.path_of(self.folder, self._sha256)
                images, self._changed = np.stack(self._images), False
            try:
                with replacing(path) as beside, beside.open("wb") as file:
                    np.savez(file, images=images)
                for old in self.folder.glob(served.PATTERN):
                    if old != path:
                        old.unlink(missing_ok=True)
            except OSError as error:
                # whoever asked for images gets them; the next minute tries again
                log.warning("samples of what is served are not kept: %s", error)
                self._changed = True
