"""Whether something is new is what `dvc repro` would say, and the reason is told in words."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ganpipe import compute, params, retraining, workspace
from ganpipe.data.sources import write_fingerprint
from ganpipe.lineage.record import flat
from ganpipe.params import Params
from ganpipe.retraining import Made, news, of_checkout, of_version

SOURCE = {"source": "folder", "count": 1600, "bytes": 5, "digest": "a" * 64}
PIPELINE = """
stages:
  ingest:
    cmd: mkdir out && cp data/source.json out
    params: [data.min_side, model]
    deps: [data/source.json, code, one.py]
    outs: [out]
  train:
    cmd: mkdir -p model && cp out/source.json model
    params: [train.kimg, train.eps, train.threads, data.expected_classes]
    deps: [out/source.json, one.py]
    outs: [model: {cache: true}]
"""
# names whose order as text is not their order as paths
CODE = ["code/a.py", "code/a/b.py", "code/a-b.py", "code/deep/er/c.py", "one.py"]


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose pipeline ran, with threads that the machine chose."""
    folder = tmp_path_factory.mktemp("repository")
    for name in CODE:
        put(folder, name, f"# {name}\n")
    put(folder, "code/README.md", "not code")
    put(folder, "other.py", "# no stage reads it")
    put(folder, "dvc.yaml", PIPELINE)
    put(folder, ".dvcignore", "/code/**/*.md\n__pycache__\n")
    put(folder, ".gitignore", "/out\n/model\n/data\n")
    put(folder, ".dvc/config", "[core]\n    analytics = false\n")
    params.write(params.override(Params(), ["train.threads=3"]), folder / "params.yaml")
    write_fingerprint(SOURCE, folder)
    workspace.git(folder, "init", "--quiet", "--template=")
    commit(folder, "start")
    assert "Running stage 'train'" in dvc(folder, "repro")
    return folder


def commit(folder: Path, message: str) -> None:
    workspace.git(folder, "add", ".")
    who = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    workspace.git(folder, *who, "commit", "--quiet", "-m", message)


def dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    env = workspace.environment(folder) | {"DVC_SITE_CACHE_DIR": str(folder / ".dvc" / "site")}
    return subprocess.run(
        command, cwd=folder, env=env, check=True, capture_output=True, text=True
    ).stdout


def found(folder: Path, *assignments: str) -> list[str]:
    chosen = params.override(Params(), list(assignments))
    now = of_checkout(folder, workspace.pin(folder).commit, chosen, SOURCE)
    return news(of_version(folder), now)


def test_what_dvc_calls_up_to_date_has_no_news(made: Path) -> None:
    assert "up to date" in dvc(made, "status")
    assert found(made) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("code/a/b.py", ["code: code"]),
        ("code/new.py", ["code: code"]),
        ("one.py", ["code: one.py"]),
        ("code/README.md", []),
        ("code/__pycache__/a.pyc", []),
        ("other.py", []),
    ],
)
def test_an_edit_is_news_where_a_stage_would_run_for_it(
    made: Path, name: str, told: list[str]
) -> None:
    path = made / name
    before = path.read_text() if path.exists() else None
    put(made, name, "# edited\n")
    workspace.git(made, "add", "--intent-to-add", "--force", name)
    try:
        assert found(made) == told
        assert ("up to date" in dvc(made, "status")) == (told == [])
    finally:
        workspace.git(made, "reset", "--quiet")
        path.unlink() if before is None else path.write_text(before)


def test_a_commit_that_changes_no_dependency_is_no_news(made: Path) -> None:
    put(made, "other.py", "# something else")
    commit(made, "other")
    assert found(made) == []


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("train.kimg=200", ["parameters: train.kimg 150.0 -> 200.0"]),
        ("model.width=32", ["parameters: model.width 64 -> 32"]),
        ("data.expected_classes=[a]", ["parameters: data.expected_classes [] -> ['a']"]),
        ("train.threads=2", ["parameters: train.threads 3 -> 2"]),
        ("train.threads=0", []),  # whatever a machine has
        ("train.lr=0.5", []),  # no stage of this pipeline reads it
    ],
)
def test_parameters_are_news_where_a_stage_reads_them(
    made: Path, assignment: str, told: list[str]
) -> None:
    assert found(made, assignment) == told


def test_every_value_that_the_machine_chooses_is_known() -> None:
    asked = flat(Params().dump())
    resolved = flat(compute.resolve(Params()).dump())
    assert {key for key in asked if asked[key] != resolved[key]} <= retraining.AUTO.keys()
    assert {key: asked[key] for key in retraining.AUTO} == retraining.AUTO


def test_all_that_the_stages_of_this_code_depend_on_has_a_hash(repository_root: Path) -> None:
    commit = workspace.git(repository_root, "rev-parse", "HEAD").strip()
    now = of_checkout(repository_root, commit, Params(), SOURCE)
    assert [path for path, told in now.code.items() if not told] == []
    assert {"ganpipe/training", "requirements.lock"} <= now.code.keys()
    stages = yaml.safe_load((repository_root / "dvc.yaml").read_text())["stages"]
    assert now.commands.keys() == stages.keys()
    assert {"train.lr", "model.width", "evaluate.samples"} <= now.params.keys()
    assert not {"register.gate", "compute.engine", "train.state_url"} & now.params.keys()


def test_reasons_are_told_in_words_and_the_way_it_was_started_is_none() -> None:
    before = Made(SOURCE, {"code": "1"}, {"train.lr": 1.0, "train.start": "x"}, {"train": "a"})
    source = SOURCE | {"count": 1700, "digest": "b" * 64}
    now = Made(source, {"code": "2", "new": "1"}, {"train.start": "scratch"}, {"train": "b"})
    assert news(before, now) == [
        "data: 1,600 files of folder (aaaaaaaa) -> 1,700 files of folder (bbbbbbbb)",
        "code: code, new, the stage train",
        "parameters: train.lr 1.0 -> (none)",
    ]
    assert news(before, replace(before, params=before.params | {"train.start": "y"})) == []


def test_the_same_has_the_same_digest_and_anything_else_another() -> None:
    one = Made(SOURCE, {"code": "1"}, {"train.lr": 1.0}, {"train": "a"})
    assert one.digest("scratch") == replace(one, source=dict(SOURCE)).digest("scratch")
    others = [
        one.digest("dvc:1.dir"),
        replace(one, source=SOURCE | {"digest": "c"}).digest("scratch"),
        replace(one, code={"code": "2"}).digest("scratch"),
        replace(one, params={"train.lr": 2.0}).digest("scratch"),
        replace(one, commands={"train": "b"}).digest("scratch"),
    ]
    assert len({one.digest("scratch"), *others}) == 6
