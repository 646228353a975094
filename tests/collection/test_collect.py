"""What goes and what stays; nothing goes that a version which stays needs."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from ganpipe import params, registry, sweeping, tracking, workspace
from ganpipe.collection import KINDS, Plan, records, tracked, using_cache
from ganpipe.drift.look import _digest as digest
from ganpipe.errors import GanpipeError
from ganpipe.lineage.identity import outputs
from ganpipe.registry import CANDIDATE, CHAMPION, PREVIOUS, moves
from tests.collection.world import RUNS, World, dvc, everything, write

DAY = 86400.0


def why(plan: Plan, kind: str, name: str) -> str:
    (found,) = [item for item in plan.items if item.kind == kind and item.name == name]
    return "goes" if found.goes else found.why


def test_versions_with_an_alias_or_tagged_keep_stay_with_their_files_runs_and_bytes(
    world: World,
) -> None:
    for which in (0, 1, 2, 3, 0):
        world.registered(which)
    world.alias(PREVIOUS, "1")
    world.alias(CHAMPION, "2")
    world.alias(CANDIDATE, "4")
    world.client.set_model_version_tag("ganpipe", "5", "keep", "")
    world.gc()
    assert world.numbers() == [1, 2, 4, 5]
    assert world.lost() == []
    assert len(world.client.search_logged_models([experiment(world)])) == 4
    for number in world.numbers():
        run_id = world.client.get_model_version("ganpipe", str(number)).run_id
        assert world.client.list_artifacts(run_id, "report")


def experiment(world: World) -> str:
    return str(world.client.get_experiment_by_name("ganpipe").experiment_id)


def test_what_nothing_needs_goes_from_disk(world: World) -> None:
    run_id = world.run(0)
    version = world.client.get_model_version("ganpipe", world.version(run_id, 0))
    artifacts = Path(world.client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    files = Path(version.source.removeprefix("file://"))
    assert (artifacts / "report/index.html").is_file()
    assert (files / "lineage/dvc.lock").is_file()
    write(world.state / "logs" / "old.log", "old")
    write(world.state / "scratch" / "train-1" / "states" / "state-1.json", "{}")
    write(world.state / "models" / "ab" / "generator.json", "{}")
    for name in ("sweeps/0a.json", "sweeps/0a.lock", "sweeps/0b.lock", "sweeps/begun/run.json"):
        write(world.state / name, "{}")
    write(world.state / "watch" / "0123" / "seen" / "0a.npy", "")
    gone = {item.kind for item in world.gc()}
    assert gone == set(KINDS)
    assert not artifacts.exists()
    assert not files.exists()
    assert world.numbers() == []
    assert world.objects() == set()
    assert list(world.cache.glob("runs/*/*/*")) == []
    for name in ("workspaces", "scratch", "models", "logs", "sweeps/begun", "watch"):
        assert list((world.state / name).glob("*")) in ([], [world.state / "scratch/train-1.lock"])
    assert list((world.state / "sweeps").iterdir()) == [world.state / "sweeps" / "begun"]
    refs = workspace.git(world.repo, "for-each-ref", "--format=%(refname)")
    assert refs.split() == ["refs/heads/main"]
    assert world.gc() == []


def test_age_count_and_choice_are_kept_to(world: World) -> None:
    for which in (0, 1, 2):
        world.registered(which)
    world.registered(3, "other")
    assert not world.plan(older_than=DAY).going
    assert why(world.plan(older_than=DAY), "versions", "version 1 of ganpipe") == "younger than 1 d"
    plan = world.plan(keep_last=2)
    assert {item.name for item in plan.going if item.kind == "versions" and item.size == 0} == {
        "version 1 of ganpipe"
    }
    assert {item.name for item in plan.going if item.kind == "workspaces"} == {
        f"run-{world.made - 3}",
        f"run-{world.made - 2}",
    }
    assert {item.kind for item in world.plan(kinds=frozenset({"workspaces"})).going} == {
        "workspaces"
    }
    world.gc(kinds=frozenset({"cache"}))
    assert world.lost() == []


def test_what_a_sweep_or_a_watch_may_go_on_with_stays(world: World) -> None:
    world.registered(0)
    with sweeping.opened(world.state, "0" * 64) as record:
        record.save()
    begun = world.state / "sweeps" / "begun" / "run.json"
    write(begun, "{}")
    seen = [world.state / "watch" / digest(name) / "seen" for name in ("ganpipe", "gone")]
    for folder in seen:
        write(folder / "0a.npy", "")
    notes = frozenset({"notes"})
    assert not world.plan(older_than=DAY, kinds=notes).going
    plan = world.plan(kinds=notes)
    assert len(plan.going) == 3
    assert why(plan, "notes", f"watch {digest('ganpipe')}") == "watches of ganpipe"
    with using_cache(world.state), sweeping.opened(world.state, "0" * 64):
        with pytest.raises(GanpipeError, match="a run is under way"):
            world.gc(kinds=notes)
        assert record.path.is_file()
        assert begun.is_file()
    world.gc(kinds=notes)
    assert not record.path.exists()
    assert not begun.exists()
    assert [folder.exists() for folder in seen] == [True, False]


def test_a_run_that_recorded_no_file_goes_like_any_other(world: World) -> None:
    made = world.client.create_run(experiment(world), tags={tracking.HOST_TAG: "here"})
    world.client.set_terminated(made.info.run_id)
    shutil.rmtree(made.info.artifact_uri.removeprefix("file://"), ignore_errors=True)
    (item,) = world.gc(kinds=frozenset({"runs"}))
    assert (item.kind, item.size) == ("runs", 0)


def test_a_plan_changes_nothing(world: World) -> None:
    world.registered(0)
    before = everything(world.state)
    assert world.plan().going
    assert everything(world.state) == before
    assert world.numbers() == [1]


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_version_that_is_left_has_every_byte_in_any_history(world: World, seed: int) -> None:
    """Runs, promotions, tags and collections in random order, and in between parts removed."""
    draw = random.Random(seed)
    for _ in range(40):
        numbers = [str(each) for each in world.numbers()]
        match draw.choice(["run", "version", "version", "alias", "keep", "gc", "workspace"]):
            case "run":
                world.run(draw.randrange(len(RUNS)))
            case "version":
                world.registered(draw.randrange(len(RUNS)))
            case "alias" if numbers:
                world.alias(draw.choice([CANDIDATE, CHAMPION, PREVIOUS]), draw.choice(numbers))
            case "keep" if numbers:
                world.client.set_model_version_tag("ganpipe", draw.choice(numbers), "keep", "1")
            case "gc":
                kept = {int(v) for v in aliases(world).values()}
                kinds = ["workspaces", "versions", "runs", "cache"]
                chosen = frozenset(draw.sample(kinds, draw.randint(1, 4)))
                world.gc(keep_last=draw.choice([0, 0, 1, 3]), kinds=chosen)
                assert kept <= set(world.numbers())
                assert world.lost() == []
            case "workspace":
                world.gc(kinds=frozenset({"workspaces"}))
    world.gc()
    assert world.lost() == []
    needed = world.numbers()
    for number in needed:
        world.client.delete_model_version("ganpipe", str(number))
    world.gc()
    assert world.objects() == set(), "what no version names any more goes"


def aliases(world: World) -> dict[str, str]:
    return registry.aliases(world.client, "ganpipe")


def test_a_version_that_was_promoted_since_the_plan_stays_with_its_bytes(world: World) -> None:
    world.registered(0)
    world.registered(1)
    plan = world.plan()
    assert len([item for item in plan.going if item.kind == "versions"]) == 4
    world.alias(CHAMPION, "1")
    world.gc(plan)
    assert world.numbers() == [1]
    assert world.lost() == []


def test_a_version_that_is_promoted_while_others_go_keeps_its_alias(world: World) -> None:
    world.registered(0)
    (item,) = [each for each in world.plan().going if each.name == "version 1 of ganpipe"]
    world.alias(CHAMPION, "1")
    with pytest.raises(GanpipeError, match="version 1 of ganpipe stays: champion"):
        records.remove(world.uri, item)
    assert aliases(world) == {CHAMPION: "1"}


def test_what_came_after_the_plan_stays(world: World) -> None:
    world.registered(0)
    plan = world.plan()
    world.registered(1)
    world.gc(plan)
    assert world.numbers() == [2]
    assert world.lost() == []


def test_the_champion_of_before_a_move_by_hand_stays(world: World) -> None:
    for which in (0, 1):
        world.registered(which)
    moves.last_left(world.client, "ganpipe", "1", "")
    world.alias(CHAMPION, "2")  # in MLflow itself
    world.gc()
    assert world.numbers() == [1, 2]
    moves.last_left(world.client, "ganpipe", "2", "")
    world.client.set_registered_model_tag("ganpipe", moves.MOVING, "1")
    world.gc()
    assert world.numbers() == [1, 2]


def test_decisions_on_a_version_that_goes_stay_in_promotions_jsonl(world: World) -> None:
    for which in (0, 1):
        world.registered(which)
    lock = registry.file_lock(world.state)
    for version in ("1", "2"):
        registry.promote(
            world.uri, "ganpipe", version, reason=f"why {version}", lock=lock,
            verify=lambda version: [], force=True,
        )  # fmt: skip
        lock = registry.file_lock(world.state)
    assert {"1", "2"} <= set(tracked.reasons(world.client, "ganpipe"))  # both were promoted
    world.client.delete_registered_model_alias("ganpipe", PREVIOUS)
    moves.last_left(world.client, "ganpipe", "2", "")
    world.gc()
    assert world.numbers() == [2]
    assert [move.reason for move in registry.history(world.uri, "ganpipe")] == ["why 1", "why 2"]


def test_the_run_that_measured_a_kept_version_anew_stays(world: World) -> None:
    world.registered(0)
    world.alias(CHAMPION, "1")
    measured = world.run(1)
    world.client.set_model_version_tag("ganpipe", "1", "ganpipe.evaluation.0123", measured)
    world.gc()
    assert world.client.get_run(measured).info.lifecycle_stage == "active"
    assert world.client.list_artifacts(measured, "report")


def test_bytes_that_the_checkout_or_git_names_stay(world: World) -> None:
    for which in range(3):
        world.run(which)
    locks = [(world.backup / str(each) / "dvc.lock").read_text() for each in range(3)]
    git = workspace.git
    write(world.repo / "dvc.lock", locks[0])
    git(world.repo, "add", "dvc.lock")
    commit = git(world.repo, "commit-tree", git(world.repo, "write-tree").strip(), "-m", "x")
    git(world.repo, "tag", "release", commit.strip())
    write(world.repo / "dvc.lock", locks[1])
    git(world.repo, "reset", "--quiet")
    try:
        world.gc()
        left = world.objects()
        for each, stays in ((0, True), (1, True), (2, False)):
            outputs = {h for h in hashes(locks[each]) if h.endswith(".dir")}
            assert (outputs <= left) is stays, each
    finally:
        git(world.repo, "tag", "--delete", "release")
        (world.repo / "dvc.lock").unlink()


def hashes(lock: str) -> list[str]:
    return list(outputs(lock).values())


def test_a_checkpoint_that_a_workspace_will_start_from_stays(world: World) -> None:
    lock = (world.backup / "0" / "dvc.lock").read_text()
    world.run(0)
    checkpoint = outputs(lock)["checkpoints"]
    world.gc(kinds=frozenset({"workspaces"}))
    pin = workspace.pin(world.repo)
    begun = params.override(params.Params(), [f"train.start=dvc:{checkpoint}"])
    workspace.create(world.repo, pin, begun, "begun")
    world.gc(kinds=frozenset({"cache"}))
    assert checkpoint in world.objects()


def test_dvc_restores_what_stays_and_computes_what_went(world: World) -> None:
    world.registered(0)
    world.registered(2)
    world.alias(CHAMPION, "1")
    world.gc()
    for which in (0, 2):
        chosen = params.override(params.Params(), list(RUNS[which]))
        made = workspace.create(world.repo, workspace.pin(world.repo), chosen, f"again-{which}")
        dvc(made, world.repo, "repro")
        lock = (world.backup / str(which) / "dvc.lock").read_text()
        assert hashes((made / "dvc.lock").read_text()) == hashes(lock)


def test_without_mlflow_nothing_is_deleted(
    world: World, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.registered(0)
    before = everything(world.state)
    plan = world.plan()
    dead = f"http://127.0.0.1:{free_port}"
    monkeypatch.setattr(world, "uri", dead)
    for attempt in (world.plan, lambda: world.gc(plan)):
        with pytest.raises(GanpipeError, match=f"{dead}.*start that server"):
            attempt()
    assert everything(world.state) == before


def test_versions_of_this_checkouts_own_database_keep_their_bytes_when_a_server_is_used(
    world: World, tmp_path: Path
) -> None:
    world.registered(0)
    world.alias(CHAMPION, "1")
    world.gc(kinds=frozenset({"workspaces"}))
    own, world.uri = world.uri, f"sqlite:///{tmp_path / 'other.db'}"
    try:
        assert not tracking.connect(world.uri).search_registered_models()
        world.gc()
    finally:
        world.uri = own
    assert world.lost() == []
