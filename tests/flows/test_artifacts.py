"""The pictures that a run shows in Prefect."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.artifacts import inline_picture


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
