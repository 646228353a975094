"""A registry for each module of tests, in a database of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry.shelf import Shelf


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with pytest.MonkeyPatch.context() as patch:
        # no connection stays open, which a fork would share
        patch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
        memory = Path("/dev/shm")  # noqa: S108 - each commit waits for a disk
        base = memory if memory.is_dir() else tmp_path_factory.getbasetemp()
        with tempfile.TemporaryDirectory(prefix="ganpipe-test-", dir=base) as folder:
            yield Shelf(Path(folder))


@pytest.fixture(autouse=True)
def _no_outside_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
