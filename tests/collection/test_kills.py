"""Killed at any moment: no version that stays lacks a byte, and the next collection goes on."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from ganpipe.registry import CHAMPION
from tests.collection.world import World

DEADLY = ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree")


def collect_until(world: World, events: int) -> bool:
    """Collect in a child that dies at its so-manieth deletion; whether it lived to the end."""
    child = os.fork()
    if child == 0:
        left = events

        def count(event: str, _arguments: Any) -> None:
            nonlocal left
            if event in DEADLY:
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(count)
        world.gc()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return status == 0


@pytest.mark.slow
def test_killed_at_any_deletion_a_collection_goes_on_where_it_was(world: World) -> None:
    for which in (0, 1):
        world.registered(which)
    world.alias(CHAMPION, "1")
    deaths = 0
    while not collect_until(world, 9):
        deaths += 1
        assert world.lost() == []
    assert deaths > 5
    assert world.numbers() == [1]
    assert world.plan().going == []
    assert not list(world.cache.glob("*.gc"))
    assert not list((world.state / "workspaces").glob("*"))
    files = world.client.search_logged_models(
        [world.client.get_experiment_by_name("ganpipe").experiment_id]
    )
    assert len(files) == 1
    artifacts = world.state / "mlflow" / "artifacts"
    assert {path.name for path in artifacts.glob("models/*") if list(path.glob("artifacts/*"))} == {
        files[0].model_id
    }
