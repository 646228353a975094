"""The film of a run: its fixed-latent grids, one after the other."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image

from ganpipe.files import replacing

FRAMES = 60
MILLISECONDS, LAST_MILLISECONDS = 150, 2000
MOST_PIXELS = 1024  # of a frame's longer side; grids of large images are reduced
# Enlarged pixels pack so well that a loss saves a fifth at most (60 frames: 1.5 MB of digits, 3.5
# of Fashion-MNIST); it is for photographs.
LOSSLESS_BYTES = 4 * 2**20
QUALITY = 85


def chosen(count: int, most: int = FRAMES) -> list[int]:
    """At most `most` of `count` numbers, evenly, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def write_film(grids: list[Path], path: Path) -> None:
    """Write the grids (PNG, earliest first) as an animated WebP that stays on its last frame.

    The same grids give the same bytes.
    """
    frames = []
    for number in chosen(len(grids)):
        with Image.open(grids[number]) as opened:
            frame = opened.convert("RGB")
        frames.append(frame.reduce(math.ceil(max(frame.size) / MOST_PIXELS)))
    durations = [MILLISECONDS] * (len(frames) - 1) + [LAST_MILLISECONDS]
    with replacing(path) as beside:
        for options in ({"lossless": True}, {"quality": QUALITY}):
            frames[0].save(
                beside,
                "WEBP",
                save_all=True,
                append_images=frames[1:],
                duration=durations,
                loop=0,
                **options,
            )
            if beside.stat().st_size <= LOSSLESS_BYTES:
                return
