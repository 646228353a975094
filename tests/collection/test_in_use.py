"""What is in use stays; where it cannot be known what is needed, no byte of the cache goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from ganpipe import registry, workspace
from ganpipe.collection import collect, using_cache
from ganpipe.errors import GanpipeError
from ganpipe.registry import CHAMPION
from ganpipe.tracking import PROCESS_TAG
from tests.collection.world import World, dvc, rules, write


def refused(world: World) -> str:
    """Collect all: what is said of the cache, of which nothing goes."""
    before = world.objects()
    with pytest.raises(GanpipeError, match="nothing of DVC's cache was deleted") as raised:
        world.gc()
    assert world.objects() == before
    return str(raised.value)


def folder(world: World) -> Path:
    (newest, *_) = workspace.workspaces(world.repo)
    return newest


def test_a_run_under_way_keeps_its_workspace_and_all_bytes(world: World) -> None:
    run_id = world.run(0, status="RUNNING")
    assert f"run {folder(world).name} is under way" in refused(world)
    assert folder(world).is_dir()
    assert world.client.get_run(run_id).info.lifecycle_stage == "active"


def test_a_run_whose_process_was_killed_is_not_under_way(world: World) -> None:
    run_id = world.run(0, status="RUNNING")
    world.client.set_tag(run_id, PROCESS_TAG, json.dumps({"pid": 1, "started": 1.0}))
    world.gc()
    assert workspace.workspaces(world.repo) == []
    assert world.objects() == set()


def test_a_stage_that_dvc_runs_by_hand_keeps_all_bytes(world: World) -> None:
    world.run(0)
    write(world.repo / "more.sh", "#!/bin/sh\nsleep 60\n")
    env = workspace.environment(world.repo)
    command = [sys.executable, "-P", "-m", "dvc", "repro", "--force"]
    with subprocess.Popen(
        command, cwd=world.repo, env=env, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            while not (world.repo / "model" / "generator.json").is_file():
                assert process.poll() is None
                time.sleep(0.1)
            assert f"DVC is at work in {world.repo}" in refused(world)
        finally:
            os.killpg(process.pid, 9)
            write(world.repo / "more.sh", "#!/bin/sh\n")
    (world.repo / "dvc.lock").unlink()
    world.gc()  # DVC's note of the killed process is nothing
    assert world.objects() == set()


def test_whoever_holds_the_cache_keeps_all_bytes(world: World) -> None:
    world.run(0)
    plan = world.plan()
    with using_cache(world.state), using_cache(world.state):
        before = world.objects()
        with pytest.raises(GanpipeError, match="a run is under way"):
            world.gc(plan)
        assert world.objects() == before
        assert folder(world).is_dir()
    world.gc(plan)
    assert world.objects() == set()


def test_a_run_waits_for_a_collection_that_is_under_way(world: World) -> None:
    world.run(0)
    world.gc(kinds=frozenset({"workspaces"}))
    code = f"""
from pathlib import Path
from ganpipe.collection import using_cache
with using_cache(Path({str(world.state)!r})):
    print(len(list(Path({str(world.cache)!r}).glob("files/md5/*/*"))))
"""
    waiting: list[subprocess.Popen[str]] = []

    def begin(_item: object) -> None:
        if not waiting:
            command = [sys.executable, "-c", code]
            waiting.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        time.sleep(0.2)

    chosen = rules()
    lock = registry.file_lock(world.state)
    collect(world.repo, world.uri, world.plan(), chosen, lock=lock, done=begin)
    out, _ = waiting[0].communicate(timeout=30)
    assert out == "0\n"


def test_two_collections_at_once_are_told_of_each_other(world: World) -> None:
    world.run(0)
    told = []

    def again(_item: object) -> None:
        with pytest.raises(GanpipeError) as raised:
            world.gc()
        told.append(str(raised.value))

    lock = registry.file_lock(world.state)
    collect(world.repo, world.uri, world.plan(), rules(), lock=lock, done=again)
    assert "another `ganpipe gc` holds" in told[0]


def test_no_promotion_happens_meanwhile(world: World) -> None:
    world.registered(0)
    before = world.objects()
    with (
        registry.file_lock(world.state),
        pytest.raises(GanpipeError, match="let it finish"),
    ):
        world.gc()
    assert world.numbers() == [1]
    assert world.objects() == before


def test_a_training_that_holds_its_state_keeps_it(world: World) -> None:
    scratch = world.state / "scratch" / "train-1"
    write(scratch / "states" / "state-1.json", "{}")
    write(world.state / "scratch" / "train-2.old" / "state-1.json", "{}")
    with FileLock(world.state / "scratch" / "train-1.lock"):
        plan = world.plan()
        assert [item.why for item in plan.items if item.name == "train-1"] == [
            "a training is under way"
        ]
        world.gc()
        assert (scratch / "states" / "state-1.json").is_file()
    world.gc()
    assert [path.suffix for path in (world.state / "scratch").iterdir()] == [".lock", ".lock"]


def test_half_made_workspaces_of_dead_processes_go_and_those_of_living_ones_stay(
    world: World,
) -> None:
    folders = world.state / "workspaces"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as alive:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        living = folders / f".run.{alive.pid}.partial"
        gone = folders / f".run.{dead.pid}.partial"
        for made in (living, gone):
            write(made / "file", "x")
        world.gc(older_than=1e6)
        assert living.is_dir()
        assert not gone.exists()
        alive.communicate(b"\n")
    world.gc(older_than=1e6)
    assert not living.exists()


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_kept_lock_that_cannot_be_read_keeps_every_byte_and_is_named(
    world: World, damage: str
) -> None:
    world.registered(0)
    world.registered(1)
    world.alias(CHAMPION, "1")
    source = world.client.get_model_version("ganpipe", "1").source.removeprefix("file://")
    lock = Path(source) / "lineage" / "dvc.lock"
    if damage == "gone":
        lock.unlink()
    else:
        lock.write_text(lock.read_text() + "\n")
    told = refused(world)
    assert "dvc.lock of version 1 of ganpipe (champion)" in told
    assert str(lock) in told
    assert world.numbers() == [1], "what needs no lock goes"


def test_a_damaged_list_of_a_kept_folder_keeps_every_byte_and_is_named(world: World) -> None:
    world.registered(0)
    world.alias(CHAMPION, "1")
    listed = next(world.cache.glob("files/md5/*/*.dir"))
    listed.chmod(0o644)
    listed.write_text("[]")
    assert f"{listed} is damaged" in refused(world)
    listed.unlink()
    world.gc()


def test_a_cache_outside_the_checkout_is_left_alone(world: World, tmp_path: Path) -> None:
    world.run(0)
    write(world.repo / ".dvc" / "config.local", f"[cache]\n    dir = {tmp_path}\n")
    write(tmp_path / "files" / "md5" / "ab" / ("c" * 30), "another's")
    try:
        assert f"{tmp_path} lies outside this checkout" in refused(world)
    finally:
        (world.repo / ".dvc" / "config.local").unlink()
    assert (tmp_path / "files" / "md5" / "ab" / ("c" * 30)).is_file()


def test_dvc_itself_works_on_after_a_collection(world: World) -> None:
    world.registered(0)
    world.alias(CHAMPION, "1")
    world.registered(2)
    world.gc(kinds=frozenset({"versions", "runs", "cache"}), keep_last=0)
    for place in workspace.workspaces(world.repo):
        dvc(place, world.repo, "status")


def test_what_needs_no_look_at_the_cache_goes_whatever_the_cache_is(
    world: World, tmp_path: Path
) -> None:
    write(world.state / "logs" / "old.log", "old")
    write(world.repo / ".dvc" / "config.local", f"[cache]\n    dir = {tmp_path}\n")
    try:
        with using_cache(world.state):
            world.gc(kinds=frozenset({"logs"}))
    finally:
        (world.repo / ".dvc" / "config.local").unlink()
    assert list((world.state / "logs").iterdir()) == []
