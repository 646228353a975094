"""What the flow does around its stages."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows import train
from ganpipe.params import Params
from ganpipe.workspace import Pin


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
@pytest.mark.parametrize("away", ["MLflow", "Prefect"])
def test_a_registered_run_does_not_fail_for_want_of_its_report(
    tmp_path: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    away: str,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("HTTP_PROXY", raising=False)
    (tmp_path / "report").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "report" / "samples.png")
    dead = f"http://127.0.0.1:{free_port}"
    uri = dead if away == "MLflow" else "sqlite:///"
    run = train.Run(tmp_path, tmp_path, Params(), Pin("abc", "abc", False, []), uri, "run")
    names = train.Summary.__dataclass_fields__
    values: dict[str, Any] = {**dict.fromkeys(names, "text"), "value": 2.0, "floor": 1.0}
    summary = train.Summary(**{**values, "cached": [], "seconds": 1.0})
    # outside of a flow Prefect has no logger to give
    monkeypatch.setattr(train, "get_run_logger", lambda: logging.getLogger("a run"))
    with temporary_settings({PREFECT_API_URL: f"{dead}/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        train._report(run, summary, "# Told\n")
    assert "Prefect shows no report of this run" in caplog.text
