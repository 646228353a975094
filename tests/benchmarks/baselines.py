"""What ganpipe is measured against, written from the description of each tool's algorithm."""

from __future__ import annotations

import io
import multiprocessing
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def dataset_tool(photos: list[Path], archive: Path, side: int) -> None:
    """What stylegan3's dataset_tool does with --transform=center-crop and a zip file as --dest.

    One process; PIL decodes, the largest centred square is cut out, LANCZOS resizes it, and it
    is stored as a PNG without compression in a zip without compression.
    """
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for number, path in enumerate(photos):
            with Image.open(path) as image:
                pixels = np.array(image)
            edge = min(pixels.shape[:2])
            top, left = (pixels.shape[0] - edge) // 2, (pixels.shape[1] - edge) // 2
            square = Image.fromarray(pixels[top : top + edge, left : left + edge])
            small = np.array(square.resize((side, side), Image.Resampling.LANCZOS))
            payload = io.BytesIO()
            Image.fromarray(small).save(payload, format="png", compress_level=0, optimize=False)
            name = f"{number // 1000:05d}/img{number:08d}.png"
            out.writestr(name, payload.getvalue())


@contextmanager
def bare(processes: int, side: int) -> Iterator[Callable[[list[Path]], int]]:
    """A function that decodes and resizes files on workers which are up, and keeps nothing."""
    with multiprocessing.get_context("forkserver").Pool(processes) as pool:
        work = partial(_decode_and_resize, side=side)
        pool.map(str, range(processes))
        yield lambda photos: sum(pool.imap_unordered(work, photos, chunksize=64))


def _decode_and_resize(path: Path, side: int) -> int:
    with Image.open(path) as image:
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        box = (left, top, left + edge, top + edge)
        small = image.resize((side, side), Image.Resampling.LANCZOS, box=box)
    return len(np.asarray(small)) // side
