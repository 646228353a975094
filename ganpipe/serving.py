"""What programs ask of a trained generator: a checked request, images as an array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganpipe.data.words import shown
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganpipe.networks import Generator

MOST_IMAGES = 1_000_000
ANY_LABEL = -1
MOST_DIGITS = 9  # of a class's number; Python reads no number of thousands of digits


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
    if name.isdecimal() and len(name) <= MOST_DIGITS:
        return int(name)
    known = ", ".join(generator.classes) or "none: it was trained without classes"
    raise GanpipeError(f"label={shown(name)}: this generator's classes are {known}")


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
