"""What is said in more than one place says the same, and the walls between the parts hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from flows import stage
from ganpipe import stages
from ganpipe.training import scratch


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
    assert [file.name for file in files if "flows" in imported(file)] == ["cli.py"]


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
