"""The pictures and the report that a run shows in Prefect."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.artifacts import data_markdown, inline_picture, report_markdown


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


def test_the_report_shows_facts_picture_and_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "report" / "samples.png")
    told = "# A title of its own\n\n**`fid_lite0_10k` 23.12**, floor 1.7\n"
    text = report_markdown(tmp_path, "Run 1", {"commit": "a|b"}, told)
    assert text.startswith("# Run 1\n")
    assert "A title of its own" not in text
    assert "**`fid_lite0_10k` 23.12**, floor 1.7" in text
    assert "a\\|b" in text
    assert "![samples](data:image/png;base64," in text


def test_the_data_are_shown_with_their_picture_and_where_their_page_is(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "report"
    folder.mkdir(parents=True)
    # the picture goes where the summary has it, not into what names of files may pretend
    summary = "# Data\n\n![grid](data.png)\n\n- `![mine](data.png)`: truncated\n"
    (folder / "summary.md").write_text(summary, encoding="utf-8")
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "data.png")
    text = data_markdown(tmp_path, "abc123")
    assert text.count("data:image/webp;base64,") == 1
    assert text.index("![grid](data:image/") < text.index("`![mine](data.png)`: truncated")
    assert f"`{folder / 'data.html'}`" in text
    assert "`data/data.html` among the artifacts of MLflow run abc123" in text
    assert len(text) < 151_000
