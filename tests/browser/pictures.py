"""Pictures of pages for the README, written only where $GANPIPE_PICTURES names a folder."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page

FOLDER = "GANPIPE_PICTURES"
COLOURS = 128
MOST_BYTES = 300_000


def picture(shown: Page | Locator, name: str) -> None:
    """Keep what the page (1440 x 900) or a part of it shows by now, as a small PNG."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    with Image.open(io.BytesIO(shown.screenshot())) as taken:
        small = taken.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    path = Path(folder) / f"{name}.png"
    small.save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES
