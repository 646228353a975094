"""`ganpipe gc` shows first, asks, and deletes only what it showed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ganpipe import workspace
from ganpipe.collection import kinds, seconds
from ganpipe.collection.items import amount, duration
from ganpipe.errors import GanpipeError
from ganpipe.registry import CHAMPION
from tests.collection.world import World, everything


def gc(world: World, *options: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    env = {**workspace.environment(world.repo), "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "ganpipe", "gc", *options]
    return subprocess.run(
        command, cwd=world.repo, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_the_command_shows_refuses_without_a_word_and_deletes_with_it(world: World) -> None:
    world.registered(0)
    world.registered(2)
    world.alias(CHAMPION, "1")
    before = everything(world.state)
    everything_goes = ("--older-than", "0s", "--keep-last", "0")
    told = gc(world, *everything_goes, "--dry-run", "--json")
    assert told.returncode == 0, told.stderr
    plan = json.loads(told.stdout)
    going = {item["name"] for item in plan["going"]}
    assert "version 2 of ganpipe" in going
    assert "version 1 of ganpipe" not in going
    silent = gc(world, *everything_goes)
    assert silent.returncode == 2
    assert "champion" in silent.stdout
    assert "--yes" in silent.stderr
    after = everything(world.state)
    assert {name for name in before if after.get(name) != before[name]} == set()
    done = gc(world, *everything_goes, "--yes")
    assert done.returncode == 0, done.stderr
    assert "deleted:" in done.stdout
    assert world.numbers() == [1]
    assert world.lost() == []
    again = gc(world, *everything_goes, "--yes")
    assert again.stdout.endswith("to delete: nothing\n")


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1y", "1d2h"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(GanpipeError, match="30d, 2w, 12h"):
        seconds(text)


def test_ages_and_sizes_read_as_people_write_them() -> None:
    assert [seconds(each) for each in ("0s", "90m", "12h", "30d", "2w")] == [
        0, 5400, 43200, 2592000, 1209600,
    ]  # fmt: skip
    assert [duration(each) for each in (5, 90, 5400, 3e6)] == ["5 s", "2 m", "2 h", "35 d"]
    assert [amount(each) for each in (0, 999, 1e3, 2.5e9, 3e12)] == [
        "0 B", "999 B", "1.0 kB", "2.5 GB", "3000.0 GB",
    ]  # fmt: skip


def test_an_unknown_kind_is_named_with_those_there_are() -> None:
    assert kinds("cache, runs") == {"cache", "runs"}
    with pytest.raises(GanpipeError, match="there is no bytes; choose from workspaces"):
        kinds("bytes,cache")
