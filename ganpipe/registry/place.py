"""Where a checkout's models are, what it asks of a champion, and the lock under which they move."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe import params, tracking
from ganpipe.params import RegisterParams
from ganpipe.registry import by_hand, promotion
from ganpipe.registry.locks import file_lock, has_shared_lock, is_shared, lock_folder
from ganpipe.registry.moves import OnMove, nobody
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
    on_move: OnMove = nobody
    """Is told of every move that happens or is noticed here, when the lock is free again."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """This machine's lock, or Prefect's where other machines move aliases too."""
        state = state_folder(self.repo)
        shared = is_shared(self.uri, state)
        if shared and not has_shared_lock():
            log.warning(
                "others may use MLflow at %s too, and nothing keeps their promotions out of this "
                "one: set PREFECT_API_URL to a Prefect server that all of them use",
                self.uri,
            )
            shared = False
        with self.shared_lock() if shared else file_lock(lock_folder(self.uri, state)):
            yield

    def verify(self, version: ModelVersion) -> list[str]:
        """What of a version's bytes cannot be found."""
        from ganpipe import lineage

        return lineage.verify(self.uri, version, self.repo)

    def promote(
        self,
        version: str,
        reason: str,
        *,
        by: str = "",
        force: bool = False,
        against: str | None = None,
        request: str = "",
    ) -> Move:
        """See `registry.promote`."""
        with self._judging() as how:
            return promotion.promote(
                self.uri,
                self.model,
                version,
                reason=reason,
                by=by,
                force=force,
                against=against,
                request=request,
                lock=self.lock(),
                **how,
            )

    def rollback(
        self, reason: str, *, by: str = "", against: str | None = None, request: str = ""
    ) -> Move:
        """See `registry.rollback`."""
        with self._judging() as how:
            return promotion.rollback(
                self.uri,
                self.model,
                reason=reason,
                by=by,
                against=against,
                request=request,
                lock=self.lock(),
                **how,
            )

    def reconcile(self) -> Move | None:
        """Complete what was interrupted, and put on record what was moved in MLflow itself."""
        with self._judging() as how:
            return by_hand.reconcile(self.uri, self.model, lock=self.lock(), **how)

    @contextmanager
    def _judging(self) -> Iterator[dict[str, Any]]:
        moved: list[Move] = []
        try:
            yield {
                "rules": self.asked.gate,
                "margin": self.asked.margin,
                "verify": self.verify,
                "on_move": moved.append,
            }
        finally:  # what happened before something failed, too
            for move in moved:
                self.on_move(move)


def open_place(model: str, shared_lock: Callable[[], Lock], on_move: OnMove = nobody) -> Place:
    """The registry of the checkout around the current folder; an empty `model`: register.model."""
    repo = repository()
    asked = params.load(repo / params.PARAMS_FILE).registration
    uri = tracking.tracking_uri(state_folder(repo))
    return Place(repo, uri, model or asked.model, asked, shared_lock, on_move)
