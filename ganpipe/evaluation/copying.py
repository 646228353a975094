"""Memorisation of a set of images, by features and by pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.features import Features
from ganpipe.evaluation.memorisation import Closeness, closeness
from ganpipe.evaluation.unseen import FEATURES, PIXELS, Images, Unseen, fingerprints, pixels_of
from ganpipe.evaluation.verdict import Copies, Verdict, exact_copies, verdict
from ganpipe.events import progress


@dataclass(frozen=True)
class Copying:
    """What is known of copied training images."""

    features: Closeness
    pixels: Closeness | None
    """None where the two sets have images of different sizes."""
    copies: Copies
    verdict: Verdict

    @property
    def numbers(self) -> dict[str, float]:
        """Flat numbers, such as `copied_features`."""
        found: dict[str, float] = {"copies_exact": float(self.copies.generated)}
        for side in (self.features, self.pixels):
            if side is not None:
                found |= {
                    f"closer_{side.space}": side.closer.excess,
                    f"singled_out_{side.space}": side.singled_out.excess,
                    f"auth_pct_{side.space}": side.auth_pct,
                    f"c_t_{side.space}": side.c_t,
                }
        return found


def copying(
    unseen: Unseen,
    made: Images,
    features: tuple[Features, Features],
    pixels: NDArray[np.uint8],
    *,
    folder: Path,
    stage: str = "evaluate",
) -> Copying:
    """Compare generated with training images, and with what is known of unseen ones.

    `features` are those of the training images that `unseen` knows and of the generated ones;
    `pixels` uint8 [n, d] those of all training images, from pixels_of. Files are kept in `folder`.
    """
    known, ours = features
    total = 2 * len(ours)
    with progress(stage, "nearest training images by features", total) as bar:
        by_features = closeness(unseen.features, known, ours, space=FEATURES, advance=bar.advance)
    by_pixels = None
    made_pixels = pixels_of(made, folder / "pixels-made.npy")
    if unseen.pixels is not None and made_pixels.shape[1] == pixels.shape[1]:
        with progress(stage, "nearest training images by pixels", total) as bar:
            by_pixels = closeness(
                unseen.pixels, pixels, made_pixels, space=PIXELS, advance=bar.advance
            )
    copies = exact_copies(unseen.train, unseen.test, fingerprints(made))
    spaces = [each for each in (by_features, by_pixels) if each is not None]
    return Copying(by_features, by_pixels, copies, verdict(spaces, copies, len(unseen.train)))
