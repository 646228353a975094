"""The pictures and bars that a run shows in Prefect."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.artifacts import StageProgress, inline_picture
from flows.prefect_server import shared_server


@pytest.mark.parametrize(("size", "channels"), [(64, 1), (400, 3), (3000, 3)])
def test_an_inlined_picture_fits_and_opens(tmp_path: Path, size: int, channels: int) -> None:
    shape = (size, size) if channels == 1 else (size, size, channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "samples.png"
    Image.fromarray(noise).save(path)
    uri = inline_picture(path)
    assert len(uri) <= 150_000
    kind, _, content = uri.partition(";base64,")
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        assert kind == f"data:image/{(picture.format or '').lower()}"
        assert picture.width >= 64


@pytest.mark.slow
@pytest.mark.integration
def test_a_stage_that_is_tried_again_goes_on_with_the_bar_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(stage: str) -> StageProgress:
        bar = StageProgress(stage)
        bar.on_event({"event": "progress", "done": 1, "total": 4, "unit": "kimg", "rate": ""})
        return bar

    @flow
    def tried_again() -> None:
        tell("train")
        tell("evaluate")
        tell("train")

    @flow
    def comes_through() -> None:
        tell("train")
        StageProgress("train").close()  # nothing was told of the last attempt
        StageProgress("evaluate").close()

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with (
        shared_server(tmp_path) as url,
        temporary_settings({PREFECT_API_URL: url}),
        get_client(sync_client=True) as client,
    ):
        tried_again()
        comes_through()
        found = sorted((str(each.description), each.data) for each in client.read_artifacts())
        EventsWorker.drain_all(timeout=10)
    assert found == [
        ("evaluate: 1 of 4 kimg", 25.0),
        ("train: 1 of 4 kimg", 25.0),
        ("train: done", 100.0),
    ]
