"""A champion that is moved in MLflow's own page is noticed, whatever outages come between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ganpipe import registry, tracking
from ganpipe.registry import CHAMPION, PREVIOUS, Move
from ganpipe.registry_watch import watch_registry
from tests.flows.registered import Repository

pytestmark = pytest.mark.integration


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_move_by_hand_is_noticed_and_an_outage_told_once(
    tmp_path: Path,
    repository_root: Path,
    free_port: int,
    mlflow_server: Callable[[Path, int], AbstractContextManager[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "GANPIPE_STATE", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    repo = Repository(tmp_path / "a repository", repository_root)
    repo.register(1, 20.0)
    repo.register(2, 30.0)
    stop, said, seen = threading.Event(), list[str](), list[Move]()
    address = f"http://127.0.0.1:{free_port}"

    def look() -> Move | None:
        return registry.reconcile(address, "ganpipe", lock=registry.file_lock(repo.state))

    watch = threading.Thread(
        target=watch_registry, args=(stop, look, seen.append, said.append, 0.2), daemon=True
    )
    with mlflow_server(repo.state, free_port):
        watch.start()
        time.sleep(1)
        assert (said, seen) == ([], [])
    wait_for(lambda: len(said) == 1)
    time.sleep(1)
    assert "is not noticed for now: MLflow at" in said[0]
    with mlflow_server(repo.state, free_port):
        wait_for(lambda: len(said) == 2)
        assert "is noticed again" in said[1]
        tracking.connect(address).set_registered_model_alias("ganpipe", CHAMPION, "2")
        wait_for(lambda: len(seen) == 1)
        stop.set()
        watch.join(30)
    assert (seen[0].action, seen[0].version, seen[0].previous) == ("by-hand", "2", "1")
    assert not seen[0].decision.passed, "the gate's warning"
    found = repo.aliases("ganpipe")
    assert (found[CHAMPION], found[PREVIOUS]) == ("2", "1")
    assert (len(said), len(seen)) == (2, 1)
