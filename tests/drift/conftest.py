"""A champion with a real reference, made once; Prefect's home is kept out of the user's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganpipe.workspace import GIT_VARIABLES
from tests.drift.world import World

# Prefect reads its environment when it is imported
os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="ganpipe-prefect-"))
os.environ.setdefault("DO_NOT_TRACK", "true")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GANPIPE_STATE", "MLFLOW_TRACKING_URI", *GIT_VARIABLES):
            patch.delenv(name, raising=False)
        yield World(tmp_path_factory.mktemp("drift"), repository_root)
