"""Folders of JPEG files like CelebA's, made in seconds: its sizes, a photograph's statistics."""

from __future__ import annotations

import io
import multiprocessing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 178, 218
CELEBA = 202_599
BASES = 512
QUALITY = 90
# places in the zigzag order of the luminance table, all of low frequencies, and how many values
# each takes: 5 ** 4 tables for each base
_PLACES, _STEPS = (1, 2, 3, 4), 5
_MARKER = b"\xff\xdb"  # of a quantisation table


def write_photographs(folder: Path, count: int, processes: int = 2) -> None:
    """Write <folder>/000001.jpg and so on: `count` JPEGs of WIDTH x HEIGHT, about 9 kB each.

    Their pixels all differ, and all cost the same to decode: a few hundred pictures are encoded
    once, and the quantisation table of each copy scales other low frequencies up.
    """
    if count > BASES * _STEPS ** len(_PLACES):
        raise ValueError(f"{count} photographs are more than {BASES} bases give")
    folder.mkdir(parents=True)
    with multiprocessing.get_context("forkserver").Pool(processes) as pool:
        write = partial(_write_copies, folder=folder, count=count)
        for _ in pool.imap_unordered(write, range(min(BASES, count)), chunksize=8):
            pass


def photograph(seed: int) -> bytes:
    """One JPEG, decided by its seed."""
    out = io.BytesIO()
    Image.fromarray(_pixels(seed)).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def requantised(jpeg: bytes, variant: int) -> bytes:
    """The same coefficients under another quantisation table; variant 0 is the file itself."""
    start = jpeg.index(_MARKER) + 5  # marker, length, number of the table
    table = bytearray(jpeg[start : start + 64])
    for place in _PLACES:
        variant, step = divmod(variant, _STEPS)
        table[place] += step
    return jpeg[:start] + bytes(table) + jpeg[start + 64 :]


def _write_copies(base: int, folder: Path, count: int) -> None:
    jpeg = photograph(base)
    for variant, number in enumerate(range(base, count, BASES)):
        (folder / f"{number + 1:06d}.jpg").write_bytes(requantised(jpeg, variant))


def _pixels(seed: int) -> NDArray[np.uint8]:
    """Random fields whose spectrum falls like a photograph's, over a little sensor noise."""
    random = np.random.default_rng(seed)
    down, across = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    frequency = np.maximum(np.hypot(down, across), 1 / HEIGHT)
    fields = np.fft.irfft2(
        np.fft.rfft2(random.standard_normal((3, HEIGHT, WIDTH))) / frequency**1.9,
        s=(HEIGHT, WIDTH),
    )
    fields /= fields.std(axis=(1, 2), keepdims=True)
    light, *colours = fields
    # brightness varies more than colour, and the channels share it
    pixels = np.stack([light, light + 0.3 * colours[0], light + 0.3 * colours[1]], axis=-1)
    pixels = 125 + 50 * pixels + 2.5 * random.standard_normal((HEIGHT, WIDTH, 1))
    levels: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return levels
