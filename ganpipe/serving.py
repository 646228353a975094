"""What users ask of a trained generator: checked requests, images as an array or as files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ganpipe.errors import GanpipeError
from ganpipe.files import replacing_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganpipe.networks import Generator

MOST_IMAGES = 1_000_000
ANY_LABEL = -1
GRID_IMAGES = 256
OWN_FILES = re.compile(r"\d{5,}\.png|grid\.png")


def generate_to_folder(
    model: str, state: Path, *, n: int, seed: int, truncation: float, label: str, out: Path
) -> Path:
    """Write n images of a model (models:/..., or a local folder) into `out`; returns its path.

    Raises GanpipeError for a bad request or an unknown model, before anything is written.
    """
    from ganpipe.networks import load_generator
    from ganpipe.registry import resolve
    from ganpipe.tracking import tracking_uri

    check_request(n, seed, truncation)
    folder = _replaceable(out)
    uri = tracking_uri(state) if model.startswith("models:") else ""
    generator = load_generator(resolve(uri, model, state / "models"))
    number = class_number(generator, label)
    write_images(generate(generator, n, seed, label=number, truncation=truncation), folder)
    return folder


def generate(
    generator: Generator, n: int, seed: int = 0, label: int = ANY_LABEL, truncation: float = 1.0
) -> NDArray[np.uint8]:
    """Images uint8 [n, H, W, C]; the same request gives the same images.

    n: 1 to a million. seed: 0 or more. label: number of a class, or -1 for any. truncation:
    0 < t <= 1, where 1 draws from the whole normal distribution and less trades variety for
    typical images.
    Raises GanpipeError for a request outside of these bounds.
    """
    from ganpipe.networks import sample

    check_request(n, seed, truncation)
    if label != ANY_LABEL and not generator.classes:
        raise GanpipeError(
            f"label={label}: this generator cannot be asked for a class; use label={ANY_LABEL}"
        )
    if not ANY_LABEL <= label < max(len(generator.classes), 1):
        names = ", ".join(f"{number} {name}" for number, name in enumerate(generator.classes))
        raise GanpipeError(f"label={label}: use {ANY_LABEL} for any class, or one of {names}")
    chosen = None if label == ANY_LABEL else label
    return sample(generator, n, seed, truncation=truncation, label=chosen)


def class_number(generator: Generator, name: str) -> int:
    """The number of a class that is asked for by name (or number); empty asks for any.

    Raises GanpipeError for a name that the generator does not know.
    """
    if not name:
        return ANY_LABEL
    if name in generator.classes:
        return generator.classes.index(name)
    if name.isdigit():
        return int(name)
    known = ", ".join(generator.classes) or "none: it was trained without classes"
    raise GanpipeError(f"--label {name}: this generator's classes are {known}")


def check_request(n: int, seed: int, truncation: float) -> None:
    """Raise GanpipeError that names the first value out of bounds."""
    if not 1 <= n <= MOST_IMAGES:
        raise GanpipeError(f"n={n}: ask for 1 to {MOST_IMAGES:,} images")
    if not 0 <= seed < 2**63:
        raise GanpipeError(f"seed={seed}: use a whole number from 0 to 2^63 - 1")
    if not 0.0 < truncation <= 1.0:
        raise GanpipeError(
            f"truncation={truncation}: use more than 0 and at most 1 (no truncation)"
        )


def write_images(images: NDArray[np.uint8], folder: Path, *, grid: bool = True) -> None:
    """Write images uint8 [n, H, W, C] as 00000.png ... and their first 256 as grid.png.

    The folder appears whole or not at all. An earlier result is replaced; GanpipeError when
    the folder holds anything else, or cannot be written.
    """
    from ganpipe import images as pictures

    folder = _replaceable(folder)
    digits = max(5, len(str(len(images) - 1)))
    try:
        with replacing_folder(folder) as beside:
            for number, image in enumerate(images):
                path = beside / f"{number:0{digits}}.png"
                path.write_bytes(pictures.png_bytes(image))
            if grid:
                sheet = pictures.grid(images[:GRID_IMAGES])
                (beside / "grid.png").write_bytes(pictures.png_bytes(sheet))
    except OSError as error:
        raise GanpipeError(
            f"{folder} cannot be written ({error.strerror}): name another folder with --out"
        ) from error


def _replaceable(folder: Path) -> Path:
    """The absolute path, once it is sure that replacing the folder loses nobody's files."""
    folder = folder.expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise GanpipeError(f"{folder} is a file: name a folder with --out")
    if folder.is_dir():
        foreign = [path.name for path in folder.iterdir() if not OWN_FILES.fullmatch(path.name)]
        if foreign:
            raise GanpipeError(
                f"{folder} holds other files ({', '.join(sorted(foreign)[:3])}): "
                "name a new or empty folder with --out"
            )
    return folder
