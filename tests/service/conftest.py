"""Versions in a real MLflow, and the real service in a process of its own."""

from __future__ import annotations

import pytest

from tests.service import running
from tests.service.versions import Versions


@pytest.fixture(scope="session")
def serve() -> running.Serve:
    """`with serve(state, uri, "--model", ...) as service:` runs `ganpipe serve`."""
    return running.serve


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Three versions of `painter` in a database, the first of them champion."""
    versions = Versions(tmp_path_factory.mktemp("versions"))
    for seed in (1, 2, 3):
        versions.register(seed)
    versions.move("1")
    return versions
