"""Samples that a service keeps of what it served: one .npz for each generator."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.errors import GanpipeError

PATTERN = "served-*.npz"


def path_of(folder: Path, generator_sha256: str) -> Path:
    """Where a service keeps samples of a generator."""
    return folder / PATTERN.replace("*", generator_sha256[:16])


def read(path: Path) -> NDArray[np.uint8]:
    """Images uint8 [n, H, W, C]. Raises GanpipeError when the file holds none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            images: NDArray[np.uint8] = arrays["images"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise GanpipeError(
            f"{path} holds no served samples ({error}): delete it, the service writes it anew"
        ) from None
    if images.dtype != np.uint8 or images.ndim != 4:
        raise GanpipeError(f"{path} holds {images.dtype} {list(images.shape)}: delete it")
    return images
