"""What the flow does around its stages."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import artifacts
from flows.beginning import Run
from flows.run_page import RunPage
from flows.summary import Summary, show_report
from flows.train import told_of
from ganpipe import presets
from ganpipe.params import Params
from ganpipe.workspace import Pin


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_a_registered_run_does_not_fail_for_want_of_its_report(
    tmp_path: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    (tmp_path / "report").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "report" / "samples.png")
    dead = f"http://127.0.0.1:{free_port}"
    run = Run(tmp_path, tmp_path, Params(), Pin("abc", "abc", False, []), dead, "run", "1")
    values: dict[str, Any] = {
        **dict.fromkeys(Summary.__dataclass_fields__, "text"),
        **{"value": 2.0, "floor": 1.0, "cached": [], "seconds": 1.0},
    }
    # outside of a flow Prefect has no logger to give
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: logging.getLogger("a run"))
    with temporary_settings({PREFECT_API_URL: f"{dead}/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        show_report(run, RunPage(run), Summary(**values), "# Told\n")
    assert "Prefect does not show the report of this run" in caplog.text


def test_the_name_of_a_run_tells_images_networks_and_length() -> None:
    tiny = presets.load("r3gan-tiny")
    train = {**tiny.train.model_dump(), "kimg": 300.0}
    asked = ({"source": "fashion-mnist"}, tiny.model.model_dump(), train)
    assert told_of(*asked) == "fashion-mnist r3gan-tiny 300kimg"
    folder = {"source": "folder", "path": "/data/cats/"}
    assert told_of(folder, {"architecture": "resnet"}, {}) == "cats resnet 150kimg"
    bucket = {"source": "archive", "path": "s3://bucket/dogs.zip?versionId=1"}
    assert told_of(bucket, {}, {"kimg": 0.5}) == "dogs.zip dcgan 0.5kimg"


def test_every_preset_with_networks_of_its_own_has_its_name_in_that_of_a_run() -> None:
    for name in presets.names():
        chosen = presets.load(name).model.model_dump()
        told = told_of({}, chosen, {}).split()[1]
        same = [
            other for other in presets.names() if presets.load(other).model.model_dump() == chosen
        ]
        assert told in (*same, chosen["architecture"])
