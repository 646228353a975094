"""A version's bytes reach the remote, whatever the checkout's own dvc.lock names."""

from __future__ import annotations

import pytest

from ganpipe import workspace
from ganpipe.errors import GanpipeError
from ganpipe.lineage import verify
from ganpipe.lineage.push import push
from tests.lineage.tiny import Project, away


def test_a_version_that_was_pushed_is_whole_without_the_cache(project: Project) -> None:
    before = workspace.workspaces(project.repo)
    with away(project.remote):
        push(project.uri, project.version(2), project.repo)
        with away(project.cache):
            assert verify(project.uri, project.version(2), project.repo) == []
            assert verify(project.uri, project.version(1), project.repo) != []
    assert workspace.workspaces(project.repo) == before


def test_bytes_that_the_cache_lacks_are_not_said_to_be_pushed(project: Project) -> None:
    before = workspace.workspaces(project.repo)
    with (
        away(project.remote),
        away(project.cache),
        pytest.raises(GanpipeError, match="version 1 is not on the DVC remote as a whole: "),
    ):
        push(project.uri, project.version(1), project.repo)
    assert workspace.workspaces(project.repo) == before
