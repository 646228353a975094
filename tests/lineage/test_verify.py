"""What cannot be found again, or is not what it was, is named."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from ganpipe import workspace
from ganpipe.files import sha256
from ganpipe.lineage import verify
from ganpipe.lineage.store import opened
from tests.lineage.tiny import Project, away, changed, problem, write


def check(project: Project, number: int = 1, *, thorough: bool = False) -> list[str]:
    return verify(project.uri, project.version(number), project.repo, thorough=thorough)


def test_a_version_whose_bytes_are_all_there_passes(project: Project) -> None:
    for number in (1, 2):
        assert check(project, number) == []
        assert check(project, number, thorough=True) == []


def test_what_the_cache_lacks_is_taken_to_be_there_when_the_remote_has_it(
    project: Project,
) -> None:
    with away(project.cache):
        assert check(project) == []


def test_a_file_that_is_nowhere_is_named_with_its_place_and_hash(project: Project) -> None:
    wanted = project.entries(project.lock(1)["data/raw"])["manifest.parquet"]
    with (
        away(project.objects(project.cache)[wanted]),
        away(project.objects(project.remote)[wanted]),
    ):
        (told,) = check(project)
    assert told.startswith(f"data/raw/manifest.parquet: {wanted} is neither in the cache nor on")
    assert str(project.remote) in told


def test_a_lost_list_of_a_folders_files_is_named(project: Project) -> None:
    wanted = project.lock(1)["checkpoints"]
    with (
        away(project.objects(project.cache)[wanted]),
        away(project.objects(project.remote)[wanted]),
    ):
        (told,) = check(project)
    assert told.startswith(f"checkpoints: its list of files {wanted}")


def test_without_a_remote_it_says_how_to_set_one(project: Project) -> None:
    wanted = project.lock(1)["checkpoints"]
    config = project.repo / ".dvc" / "config.local"
    write(config, "[core]\n    remote = ''\n")
    try:
        with away(project.objects(project.cache)[wanted]):
            (told,) = check(project)
    finally:
        config.unlink()
    assert "`ganpipe init --remote URL`" in told


@pytest.mark.parametrize("place", ["cache", "remote"])
def test_a_damaged_object_is_named_and_not_deleted(project: Project, place: str) -> None:
    wanted = project.entries(project.lock(1)["data/raw"])["manifest.parquet"]
    folder = project.cache if place == "cache" else project.remote
    found = project.objects(folder)[wanted]
    assert found.stat().st_mode & 0o222 == 0, "DVC trusts what cannot be written"
    with changed(found):
        if place == "cache":
            (told,) = check(project)
            assert f"{found} does not hash to its name" in told
        else:
            assert check(project) == [], "the cache has it"
            with away(project.cache):
                (told,) = check(project)
            assert f"{wanted} on the remote" in told
        assert found.exists()


def test_a_file_that_has_not_changed_since_is_read_again_only_when_asked_for(
    project: Project,
) -> None:
    wanted = project.entries(project.lock(1)["data/raw"])["manifest.parquet"]
    found = project.objects(project.cache)[wanted]
    assert check(project) == []
    times = found.stat()
    with changed(found):
        os.utime(found, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert check(project) == [], "inode, size and time are what they were"
        (told,) = check(project, thorough=True)
    assert str(found) in told


def test_a_registered_generator_that_was_changed_is_named_by_both_its_hashes(
    project: Project,
) -> None:
    weights = project.kept(1) / "artifacts" / "generator" / "generator.safetensors"
    with changed(weights):
        told = check(project)
    assert len(told) == 2
    assert "the version's tag ganpipe.generator_sha256" in told[0]
    assert "is not the model/generator.safetensors of its dvc.lock" in told[1]
    with away(weights):
        (told_of_loss,) = check(project)
    assert "generator.safetensors is gone or out of reach" in told_of_loss


def test_a_version_whose_lineage_is_gone_or_changed_does_not_pass(project: Project) -> None:
    with away(project.kept(1) / "lineage"):
        (told,) = check(project)
    assert "the lineage of model ganpipe version 1 is gone" in told
    with changed(project.kept(1) / "lineage" / "dvc.lock"):
        (told,) = check(project)
    assert "dvc.lock at" in told
    assert "is not the file that was registered" in told
    with changed(project.kept(1) / "lineage" / "data" / "source.json"):
        (told,) = check(project)
    assert told.startswith("data/source.json: the version carries another file")


def test_a_version_that_ganpipe_did_not_register_does_not_pass(project: Project) -> None:
    version = project.version(1)
    for key in [key for key in version.tags if key.startswith("ganpipe.")]:
        del version.tags[key]
    (told,) = verify(project.uri, version, project.repo)
    assert "has no lineage" in told


def test_code_that_this_repository_has_not_is_named_with_what_to_fetch(
    project: Project, tmp_path: Path
) -> None:
    workspace.git(tmp_path, "init", "--quiet", "--template=")
    shutil.copytree(project.repo / ".dvc", tmp_path / ".dvc")
    (told,) = verify(project.uri, project.version(1), tmp_path)
    commit = project.version(1).tags["ganpipe.git_commit"]
    assert told.startswith(f"commit {commit} is not in {tmp_path}")
    (told,) = verify(project.uri, project.version(2), tmp_path)
    tags = project.version(2).tags
    assert f"neither commit {tags['ganpipe.git_commit']} nor" in told
    assert f"`git fetch` {tags['ganpipe.git_base']}" in told


def test_an_input_from_outside_that_dvc_names_by_its_etag_is_left_out(project: Project) -> None:
    lock = project.kept(1) / "lineage" / "dvc.lock"
    text = lock.read_text(encoding="utf-8")
    version, values = project.version(1), yaml.safe_load(text)
    outside = {"path": "s3://bucket/images.csv", "etag": "3b83ef96387f14655fc854ddc3c6bd57"}
    values["stages"]["ingest"]["deps"].append(outside)
    lock.write_text(yaml.safe_dump(values), encoding="utf-8")
    version.tags["ganpipe.dvc_lock_sha256"] = sha256(lock)
    try:
        assert verify(project.uri, version, project.repo) == []
        with changed(project.kept(1) / "lineage" / "data" / "source.json"):
            (told,) = verify(project.uri, version, project.repo)
    finally:
        lock.write_text(text, encoding="utf-8")
    assert told.startswith("data/source.json: "), "what can be looked at is"


def test_servers_that_do_not_answer_are_no_verdict(
    project: Project, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"http://127.0.0.1:{free_port}"
    began = time.monotonic()
    told = problem(verify, dead, project.version(1), project.repo)
    assert "does not answer" in told
    config = project.repo / ".dvc" / "config.local"
    write(config, f"['remote \"store\"']\n    url = s3://bucket\n    endpointurl = {dead}\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    try:
        with away(project.cache):
            told = problem(verify, project.uri, project.version(1), project.repo)
    finally:
        config.unlink()
    assert "DVC's s3://bucket" in told
    assert "cannot be read" in told
    assert time.monotonic() - began < 120


def test_looking_changes_nothing(project: Project) -> None:
    def seen() -> dict[Path, tuple[int, int, int]]:
        stats = {path: path.lstat() for path in project.repo.rglob("*") if path.is_file()}
        kept = {path: each for path, each in stats.items() if ".ganpipe/hashed" not in str(path)}
        return {p: (s.st_mode, s.st_size, s.st_mtime_ns) for p, s in kept.items()}

    before = seen()
    assert check(project, thorough=True) == []
    now = seen()
    assert {p for p in before.keys() | now.keys() if before.get(p) != now.get(p)} <= {
        path for path in now if path.name.startswith("mlflow.db")
    }


def test_a_checkpoint_can_be_lent_to_another_cache(project: Project, tmp_path: Path) -> None:
    wanted = project.lock(1)["checkpoints"]
    with opened(project.repo) as store:
        store.lend(wanted, tmp_path)
        store.lend("0" * 32 + ".dir", tmp_path)  # not here: DVC asks the remote for it
    lent = project.objects(tmp_path)
    assert set(lent) == {wanted, *project.entries(wanted).values()}
