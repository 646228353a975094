"""The pictures and the report that a run shows in Prefect."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.artifacts import inline_picture, report_markdown


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


def test_the_report_shows_number_floor_protocol_and_picture(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    metrics = {
        "fid_lite0_10k": 23.123,
        "floor_fid_lite0_10k": 1.7,
        "protocol": {"metric": "fid_lite0_10k", "samples": 10000},
    }
    (tmp_path / "report" / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    Image.new("L", (8, 8)).save(tmp_path / "report" / "samples.png")
    text = report_markdown(tmp_path, "Run 1", {"commit": "a|b"})
    assert "**23.12**" in text
    assert "| real against real | 1.7 |" in text
    assert "| samples | `10000` |" in text
    assert "a\\|b" in text
    assert "![samples](data:image/png;base64," in text
