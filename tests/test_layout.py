"""What is said in more than one place says the same, and the walls between the parts hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from flows import stage
from ganpipe import stages
from ganpipe.params import TrainParams
from ganpipe.training import scratch
from tests.code_of import Code

# what a stage runs without depending on it: {file or folder: why it decides no byte of an output}
NO_DEP = {
    "ganpipe/stages.py": "joins folders to functions; a changed output shows in the files' names",
    "ganpipe/errors.py": "words for people",
    "ganpipe/events.py": "words for people",
    "ganpipe/files.py": "how bytes reach the disk, not which",
    "ganpipe/params": "values, which are dependencies of their own; new ones have defaults",
    "ganpipe/addresses.py": "how a server is reached",
    "ganpipe/processes.py": "who listens on a port",
    "ganpipe/supervision.py": "ends a stage whose flow is gone",
    "ganpipe/data/sources/downloads.py": "fetches files that are checked by their sha256",
}
NO_DEP_OF_STAGE = {
    # names become addresses before the stage, which takes nothing but an address
    "start": [
        *("ganpipe/lineage", "ganpipe/registry", "ganpipe/packaging.py", "ganpipe/tracking.py"),
        "ganpipe/workspace.py",
    ],
    # only looks ahead whether these networks can be trained on the data
    "reference": ["ganpipe/networks", "ganpipe/training/loop.py"],
}


@pytest.fixture(scope="module")
def pipeline(repository_root: Path) -> dict[str, dict[str, list[str]]]:
    defined = yaml.safe_load((repository_root / "dvc.yaml").read_text(encoding="utf-8"))
    found: dict[str, dict[str, list[str]]] = defined["stages"]
    return found


def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return {name.partition(".")[0] for name in names}


def test_the_package_never_imports_prefect_and_flows_only_in_the_command_line(
    repository_root: Path,
) -> None:
    files = sorted((repository_root / "ganpipe").rglob("*.py"))
    assert len(files) > 30
    assert "prefect" in imported(repository_root / "flows" / "train.py")
    assert [file.name for file in files if "prefect" in imported(file)] == []
    commands = {repository_root / "ganpipe" / "cli.py"}
    commands |= set((repository_root / "ganpipe" / "commands").glob("*.py"))
    assert {file for file in files if "flows" in imported(file)} <= commands


def test_flow_commands_and_pipeline_name_the_same_stages(
    pipeline: dict[str, dict[str, list[str]]],
) -> None:
    assert list(stage.STAGES) == list(stages.STAGES) == list(pipeline)
    for name, each in pipeline.items():
        assert each["cmd"] == f"python -m ganpipe stage {name}"


def test_a_training_state_depends_on_the_code_that_the_stage_depends_on(
    pipeline: dict[str, dict[str, list[str]]],
) -> None:
    code = [dep for dep in pipeline["train"]["deps"] if dep.startswith("ganpipe/")]
    assert sorted(f"ganpipe/{part}" for part in scratch.CODE) == sorted(code)


def undeclared(code: Code, name: str, deps: list[str]) -> dict[str, str]:
    """Files that a stage runs and that neither its deps nor the exceptions cover."""
    known = [*deps, *NO_DEP, *NO_DEP_OF_STAGE.get(name, [])]
    return {
        file: why
        for file, why in code.files("ganpipe.stages", name).items()
        if not any(file == each or file.startswith(f"{each}/") for each in known)
    }


@pytest.mark.parametrize("name", stages.STAGES)
def test_a_stage_depends_on_the_code_that_it_runs(
    pipeline: dict[str, dict[str, list[str]]], repository_root: Path, name: str
) -> None:
    """Else DVC would call its outputs up to date when their code has changed."""
    missing = undeclared(Code(repository_root), name, pipeline[name]["deps"])
    assert missing == {}, "in dvc.yaml, or an exception with its reason here"


@pytest.mark.parametrize("name", stages.STAGES)
def test_a_dependency_that_is_left_out_is_noticed(
    pipeline: dict[str, dict[str, list[str]]], repository_root: Path, name: str
) -> None:
    code, deps = Code(repository_root), pipeline[name]["deps"]
    declared = [dep for dep in deps if dep.startswith("ganpipe/") and dep not in NO_DEP]
    assert declared
    unneeded = [
        dep
        for dep in declared
        if undeclared(code, name, deps) == undeclared(code, name, [d for d in deps if d != dep])
    ]
    assert unneeded == []


def test_training_depends_on_every_parameter_that_can_change_its_bytes(
    pipeline: dict[str, dict[str, list[str]]],
) -> None:
    """A section as a whole would train anew when a state is to be copied somewhere else."""
    decisive = TrainParams.model_fields.keys() - scratch.NO_MATTER
    asked = {key for key in pipeline["train"]["params"] if key.startswith("train")}
    assert asked == {f"train.{name}" for name in decisive}
