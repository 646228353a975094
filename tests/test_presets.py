"""Presets: every one loads, they are laid below --set, and no edit is lost to one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ganpipe import params, presets
from ganpipe.errors import GanpipeError
from ganpipe.params import Params
from ganpipe.setup import write_preset
from ganpipe.workspace import git

FILES = sorted(Path(presets.__file__).parent.glob("*.yaml"))


def ganpipe(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ganpipe", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose params.yaml holds the defaults and is not committed."""
    git(tmp_path, "init", "--quiet", "--template=")
    git(tmp_path, "config", "user.name", "A Person")
    git(tmp_path, "config", "user.email", "person@localhost")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "start")
    params.write(Params(), tmp_path / "params.yaml")
    return tmp_path


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_valid_and_sets_what_it_names(name: str) -> None:
    made, named = presets.load(name).dump(), presets.keys(name)
    assert named
    for section, pairs in named.items():
        for key, value in pairs.items():
            assert made[section][key] == value, f"{section}.{key}"


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_says_in_one_line_what_it_is(name: str) -> None:
    first = presets.text(name).partition("\n")[0]
    assert first.startswith("# ")
    assert 20 < len(presets.about(name)) < 100


def test_the_list_names_every_file_in_a_line() -> None:
    done = ganpipe("presets")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.partition(" ")[0] for line in lines] == [file.stem for file in FILES]
    assert len(FILES) >= 5
    assert {len(line.split("  ", 1)) for line in lines} == {2}


def test_a_preset_is_printed_with_its_comments() -> None:
    done = ganpipe("presets", "r3gan-cifar10")
    assert done.stdout == (FILES[0].parent / "r3gan-cifar10.yaml").read_text(encoding="utf-8")


def test_a_misspelt_preset_names_the_closest_and_all() -> None:
    done = ganpipe("presets", "r3gan-tinny")
    assert done.returncode == 2
    assert "did you mean r3gan-tiny?" in done.stderr
    for file in FILES:
        assert file.stem in done.stderr
    with pytest.raises(GanpipeError, match="'celeba' is not a preset"):
        presets.load("celeba")
    with pytest.raises(GanpipeError, match="is not a preset"):
        presets.text("../params")


def test_a_preset_lies_over_params_yaml_and_below_set() -> None:
    before = params.override(Params(), ["train.seed=3", "train.batch=32", "train.r1=7"])
    laid = presets.lay_over(before, "r3gan-tiny")
    assert laid.train.seed == 3  # the preset leaves it alone
    assert laid.train.batch == presets.load("r3gan-tiny").train.batch != 32
    last = params.override(laid, ["train.r1=0.3"])
    assert (laid.train.r1, last.train.r1) == (0.1, 0.3)


def test_what_params_yaml_adds_to_a_preset_is_told() -> None:
    assert len(presets.explain(Params(), "r3gan-tiny")) == 1
    before = params.override(Params(), ["train.gp=2", "train.batch=32", "data.min_side=9"])
    head, kept = presets.explain(before, "r3gan-tiny")
    assert "r3gan-tiny" in head
    assert kept.split()[-1] == "train.gp=2.0"
    assert "batch" not in kept


def test_a_run_lays_it_down_in_that_order_and_says_so(checkout: Path) -> None:
    """Which of three folders is missed, before any work, shows whose word was the last."""
    chosen = params.override(Params(), ["data.source=folder", "data.path=mine"])
    params.write(chosen, checkout / "params.yaml")
    arguments = ["--preset", "r3gan-ffhq64", "--set", "data.path=theirs"]
    done = ganpipe("run", *arguments, cwd=checkout)
    assert done.returncode == 2
    assert str(checkout / "theirs") in done.stderr
    assert done.stdout.startswith("preset    r3gan-ffhq64: ")
    assert ganpipe("run", "--preset", "r3gan-ffhq", cwd=checkout).returncode == 2


def test_init_writes_params_yaml_from_a_preset_over_the_defaults(checkout: Path) -> None:
    assert write_preset(checkout, "r3gan-tiny") == ["wrote params.yaml from preset r3gan-tiny"]
    text = (checkout / "params.yaml").read_text(encoding="utf-8")
    assert params.load(checkout / "params.yaml") == presets.load("r3gan-tiny")
    assert text == params.to_yaml(presets.load("r3gan-tiny"))  # every key, with its description
    assert "already" in write_preset(checkout, "r3gan-tiny")[0]
    write_preset(checkout, "r3gan-cifar10")  # nothing of a person's is lost
    assert params.load(checkout / "params.yaml") == presets.load("r3gan-cifar10")


def test_init_loses_no_edit(checkout: Path) -> None:
    path = checkout / "params.yaml"
    edited = params.to_yaml(params.override(Params(), ["train.seed=3"]))
    path.write_text(edited, encoding="utf-8")
    with pytest.raises(GanpipeError, match="--force") as caught:
        write_preset(checkout, "r3gan-tiny")
    assert "ganpipe run --preset r3gan-tiny" in str(caught.value)
    assert path.read_text(encoding="utf-8") == edited
    git(checkout, "add", "params.yaml")
    git(checkout, "commit", "--quiet", "-m", "three")
    write_preset(checkout, "r3gan-tiny")  # git has the edits
    path.write_text(edited.replace("seed: 3", "seed: 4"), encoding="utf-8")
    write_preset(checkout, "r3gan-tiny", force=True)
    assert params.load(path) == presets.load("r3gan-tiny")


def test_init_says_that_the_preset_s_images_are_others(checkout: Path) -> None:
    (checkout / "data").mkdir()
    (checkout / "data" / "source.json").write_text("{}", encoding="utf-8")
    assert "ganpipe refresh" in write_preset(checkout, "r3gan-cifar10")[-1]
    assert len(write_preset(checkout, "r3gan-tiny")) == 1


def test_init_takes_the_preset_from_the_command_line(checkout: Path) -> None:
    (checkout / ".dvc").mkdir()
    (checkout / "data").mkdir()
    (checkout / "data" / "source.json").write_text("{}", encoding="utf-8")
    done = ganpipe("init", "--preset", "r3gan-tiny", cwd=checkout)
    assert done.stdout == "wrote params.yaml from preset r3gan-tiny\n", done.stderr
    done = ganpipe("init", "--preset", "r3gan-tinny", "--force", cwd=checkout)
    assert done.returncode == 2
    assert params.load(checkout / "params.yaml") == presets.load("r3gan-tiny")


def test_an_installed_wheel_brings_the_presets(tmp_path: Path, repository_root: Path) -> None:
    sources, built, installed = (tmp_path / name for name in ("sources", "built", "installed"))
    sources.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository_root / name, sources)
    for name in ("ganpipe", "flows"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository_root / name, sources / name, ignore=ignored)
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    built.mkdir()
    command = [sys.executable, "-c", code, str(built)]
    done = subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    code = "from ganpipe import presets; print(presets.__file__); print(*presets.names())"
    env = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    where, names = done.stdout.splitlines()
    assert Path(where).is_relative_to(installed)
    assert names.split() == [file.stem for file in FILES]
