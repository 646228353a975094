"""Where a checkout's models are, what it asks of a champion, and the lock under which they move."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe import params, tracking
from ganpipe.params import RegisterParams
from ganpipe.registry.by_hand import reconcile
from ganpipe.registry.locks import file_lock, has_shared_lock, is_shared, lock_folder
from ganpipe.workspace import repository, state_folder

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from ganpipe.registry.audit import Move

log = logging.getLogger(__name__)
Lock = AbstractContextManager[Any]


@dataclass(frozen=True)
class Place:
    """A model's registry, as seen from a checkout."""

    repo: Path
    uri: str
    model: str
    asked: RegisterParams
    """The gate of the checkout's params.yaml."""
    shared_lock: Callable[[], Lock]

    def lock(self) -> Lock:
        """This machine's lock, or Prefect's where other machines move aliases too."""
        state = state_folder(self.repo)
        if is_shared(self.uri, state):
            if has_shared_lock():
                return self.shared_lock()
            log.warning(
                "others may use MLflow at %s too, and nothing keeps their promotions out of this "
                "one: set PREFECT_API_URL to a Prefect server that all of them use",
                self.uri,
            )
        return file_lock(lock_folder(self.uri, state))

    def verify(self, version: ModelVersion) -> list[str]:
        """What of a version's bytes cannot be found."""
        from ganpipe import lineage

        return lineage.verify(self.uri, version, self.repo)

    def reconcile(self) -> Move | None:
        """Complete what was interrupted, and put on record what was moved in MLflow itself."""
        return reconcile(
            self.uri,
            self.model,
            lock=self.lock(),
            rules=self.asked.gate,
            margin=self.asked.margin,
            verify=self.verify,
        )


def open_place(model: str, shared_lock: Callable[[], Lock]) -> Place:
    """The registry of the checkout around the current folder; an empty `model`: register.model."""
    repo = repository()
    asked = params.load(repo / params.PARAMS_FILE).registration
    uri = tracking.tracking_uri(state_folder(repo))
    return Place(repo, uri, model or asked.model, asked, shared_lock)
