"""States on their way to a store while training goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganpipe.errors import GanpipeError
from ganpipe.training.state import SavedState
from ganpipe.training.state_store import StateStore

SOON = 5.0  # seconds that a run which was told to stop waits for its last copy
LONG = 600.0  # seconds that a finished one waits


class Courier:
    """Copies states to a store while training goes on: one at a time, the newest that waits.

    What fails is told, and the next state is another try: a store never ends a run.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._waiting: SavedState | None = None
        self._busy = self._ended = False
        self._changed = threading.Condition()
        # a daemon: the process must not wait at its end for a store that hangs
        threading.Thread(target=self._work, name="states", daemon=True).start()

    def send(self, saved: SavedState) -> None:
        """Copy this state next, rather than any that still waits."""
        with self._changed:
            self._waiting = saved
            self._changed.notify_all()

    def end(self, patience: float) -> None:
        """Wait for the last copy for so many seconds; say so when that was not enough."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: not self._busy and not self._waiting, patience):
                print(
                    f"train: warning: the last state was not copied to {self._store.shown} within "
                    f"{patience:g} s; the copies before it stay",
                    flush=True,
                )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._ended)
                if self._waiting is None:
                    return
                saved, self._waiting, self._busy = self._waiting, None, True
            try:
                self._store.copy(saved)
            except GanpipeError as error:
                print(
                    f"train: warning: the state at {saved.images / 1000:g} kimg was not copied "
                    f"(the next one will be tried): {error}",
                    flush=True,
                )
            finally:
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()


@contextmanager
def copies(url: str, scratch: Path, *, anew: bool) -> Iterator[Courier | None]:
    """Fetch the newest state into a scratch folder, then copy to the URL what is sent.

    Nothing is done without a URL. `anew`: what lies there is removed instead.
    Raises GanpipeError when the store cannot be used.
    """
    if not url:
        yield None
        return
    store = StateStore(url, scratch)
    if anew:
        store.clear()
    store.fetch()
    courier, patience = Courier(store), SOON
    try:
        yield courier
        patience = LONG
    finally:
        courier.end(patience)
