"""The generator that requests are answered with; where an alias names it, the alias is followed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganpipe import packaging, registry, serving
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.networks import Generator, load_generator
from ganpipe.tracking import first_line

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

LONGEST_SECONDS = 30.0  # between two attempts after failures: files may be large, and logs are read
STOP_SECONDS = 5.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A generator that is ready, and what it is called."""

    generator: Generator
    name: str
    version: str
    """Number of the version in the registry; of a local folder the start of its sha256."""
    sha256: str


class Models:
    """Holds the current model; `start` follows its alias in a thread of its own.

    A new model takes the old one's place only when it is loaded and has made images. Whatever
    happens to the registry, the model that is loaded stays.
    """

    def __init__(
        self, model: str, uri: Callable[[], str], cache: Path, seconds: float = 5.0
    ) -> None:
        """Load `model`: models:/name@alias, models:/name/3 or a local folder.

        `uri` tells where MLflow is now, asked every `seconds`. Raises GanpipeError when there
        is no such model, or its files are gone or damaged.
        """
        self.model, self.seconds = model, seconds
        self._uri, self._cache = uri, cache
        self.problem = ""
        """Why the registry cannot be followed at the moment; empty: it can."""
        self.swaps = 0
        self.looked = time.time()
        """When the registry last answered, in Unix seconds."""
        self.current = self._load()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow", daemon=True)

    @property
    def follows(self) -> bool:
        """Whether the model is named by an alias, which may move."""
        return self.model.startswith("models:") and "@" in self.model

    def start(self) -> None:
        """Begin to follow the alias, where there is one."""
        if self.follows:
            self._thread.start()

    def stop(self) -> None:
        """End following."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)

    def _follow(self) -> None:
        from mlflow.exceptions import MlflowException

        failures = 0
        while not self._stop.wait(self._pause(failures)):
            try:
                self._look()
            except (GanpipeError, MlflowException, OSError) as error:
                problem = first_line(error)
                if problem != self.problem:
                    log.warning("keeping version %s: %s", self.current.version, problem)
            except Exception as error:  # a thread that ends would serve an old model for ever
                problem = repr(error)
                log.exception("keeping version %s", self.current.version)
            else:
                problem = ""
                if self.problem:
                    log.info("following %s again", self.model)
            failures = failures + 1 if problem else 0
            self.problem = problem

    def _pause(self, failures: int) -> float:
        return min(self.seconds * 2.0 ** min(failures, 10), max(self.seconds, LONGEST_SECONDS))

    def _look(self) -> None:
        uri = self._uri()
        wanted = registry.named(uri, self.model)
        was = self.current
        digest = wanted.tags.get(packaging.GENERATOR_TAG)
        if (str(wanted.version), digest) != (was.version, was.sha256):
            self.current = self._registered(uri, wanted)
            self.swaps += 1
            log.info("version %s takes the place of %s", self.current.version, was.version)
        self.looked = time.time()

    def _load(self) -> Served:
        if self.model.startswith("models:"):
            uri = self._uri()
            return self._registered(uri, registry.named(uri, self.model))
        folder = registry.resolve("", self.model, self._cache)
        digest = sha256(folder / packaging.WEIGHTS)
        return self._ready(folder, folder.resolve().name, digest[:16], digest)

    def _registered(self, uri: str, version: ModelVersion) -> Served:
        folder = packaging.download(uri, version, self._cache)
        return self._ready(folder, version.name, str(version.version), folder.name)

    def _ready(self, folder: Path, name: str, version: str, digest: str) -> Served:
        generator = load_generator(folder)
        serving.generate(generator, 1)  # the first images take longest, and may be the last
        return Served(generator, name, version, digest)
