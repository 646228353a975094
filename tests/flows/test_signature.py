"""Flows that are sent to other processes, as `flow.serve()` does."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest
import yaml

ASK = {"recover": "flow_run", "undecided": "flow_run"}  # what they cannot do without


@pytest.fixture(scope="module")
def entrypoints(repository_root: Path) -> list[str]:
    described = yaml.safe_load((repository_root / "infra/prefect.yaml").read_text(encoding="utf-8"))
    return [str(each["entrypoint"]) for each in described["deployments"]]


def test_every_flow_knows_its_parameters_after_it_was_pickled(entrypoints: list[str]) -> None:
    assert len(entrypoints) >= 9
    for entrypoint in entrypoints:
        module, _, name = entrypoint.rpartition(".")
        flow = getattr(importlib.import_module(module), name)
        given: dict[str, Any] = {}
        if name in ASK:
            given[ASK[name]] = "00000000-0000-4000-8000-000000000000"
        sent = cloudpickle.loads(cloudpickle.dumps(flow))
        assert sent.validate_parameters(given).keys() >= given.keys(), name
