"""data/raw/previews.parquet: how near duplicates look, whose bytes are not packed.

Without it nobody could judge from the report whether data.near_distance is too wide.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ganpipe.data.report.pictures import SIDES, shrunk, webp

if TYPE_CHECKING:
    from PIL import Image

PREVIEWS = "previews.parquet"
PAIRS = 48  # near duplicates that the report shows: the first by path


def write_previews(folder: Path, pictures: Iterable[tuple[str, Image.Image]]) -> None:
    """Write small versions of some set-aside images (`L` or `RGB`) by their manifest path."""
    import pandas as pd

    rows = [(path, webp(shrunk(picture, SIDES[0]))) for path, picture in pictures]
    frame = pd.DataFrame(rows, columns=["path", "picture"])
    frame.to_parquet(folder / PREVIEWS, index=False)


def read_previews(raw: Path) -> dict[str, Image.Image]:
    """Small pictures by manifest path; empty when ingest wrote none."""
    import pandas as pd
    from PIL import Image

    if not (raw / PREVIEWS).exists():
        return {}
    frame = pd.read_parquet(raw / PREVIEWS)
    return {
        path: Image.open(io.BytesIO(picture), formats=["WEBP"])
        for path, picture in zip(frame["path"], frame["picture"], strict=True)
    }
