"""What the numbers on memorisation come to, in words with their evidence and limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganpipe.evaluation.memorisation import CHANCE, Closeness

MUCH = 0.01  # share of copies from which a finding is called copying

LIMITS = (
    "Known limits: each number sees copies only where its space does; crops, shifts, recoloured "
    "or recombined copies escape pixels, and features may miss them too (Stein et al., 2023: "
    "such diagnostics do not detect memorisation properly); training images that were left out "
    "of the comparison cannot be recognised."
)


class Copies(NamedTuple):
    """Images that equal a training image byte for byte."""

    generated: int
    test: int
    p_value: float
    """Chance of so many or more generated ones among all copies (Fisher's exact test)."""


def exact_copies(
    train: NDArray[np.uint64], test: NDArray[np.uint64], generated: NDArray[np.uint64]
) -> Copies:
    """Count them by the fingerprints of the three sets."""
    from scipy.stats import hypergeom

    made, unseen = int(np.isin(generated, train).sum()), int(np.isin(test, train).sum())
    all_of_both = len(generated) + len(test)
    chance = float(hypergeom.sf(made - 1, all_of_both, made + unseen, len(generated)))
    return Copies(made, unseen, chance)


Finding = Literal["copies", "suspicious", "nothing found", "too few images"]
OPENINGS: dict[Finding, str] = {
    "copies": "The generator copies training images",
    "suspicious": "No proof of copying, but some hints",
    "nothing found": "No copying was found",
    "too few images": "There are too few images to tell whether the generator copies",
}


class Verdict(NamedTuple):
    """What is found, why, and what could have been."""

    finding: Finding
    evidence: list[str]
    """What speaks for copying, the surest first."""
    seen: list[str]
    """What could be seen at all."""

    @property
    def opening(self) -> str:
        """The finding as a sentence."""
        return f"{OPENINGS[self.finding]}."

    @property
    def text(self) -> str:
        """All of it in one paragraph, with the known limits."""
        reasons = f": {'; '.join(self.evidence)}" if self.evidence else ""
        return " ".join([f"{OPENINGS[self.finding]}{reasons}.", *self.seen, LIMITS])


def verdict(spaces: Sequence[Closeness], copies: Copies, trained_on: int) -> Verdict:
    """Say in words what the numbers come to; `trained_on` counts all training images."""
    sure: list[str] = []
    hints: list[str] = []
    context: list[str] = []
    if copies.generated:
        said = (
            f"{copies.generated} generated images equal a training image byte for byte "
            f"({copies.test} test images do)"
        )
        (sure if copies.p_value < CHANCE else hints).append(said)
    if copies.test:
        context.append(
            f"{copies.test} test images equal a training image, so the test images are not all "
            f"unseen, which hides copies."
        )
    for space in spaces:
        one, near = space.singled_out, space.closer
        if one.p_value < CHANCE:
            (sure if one.excess >= MUCH else hints).append(
                f"by {space.space}, {one.share:.1%} of generated images single out one training "
                f"image as only {one.expected:.1%} of unseen images do: about {one.excess:.1%} "
                f"copies (p = {one.p_value:.0e})"
            )
        if near.p_value < CHANCE:
            hints.append(
                f"by {space.space}, {near.share:.1%} lie closer to a training image than "
                f"{1 - near.expected:.1%} of unseen images do (p = {near.p_value:.0e}), which "
                f"blur or small variety can cause too"
            )
        if space.c_t < -3:
            hints.append(
                f"by {space.space}, generated images as a whole lie closer to training images "
                f"than unseen ones (C_T = {space.c_t:.1f})"
            )
        context.append(
            f"By {space.space}, copies can be seen from {max(one.detectable, MUCH):.1%} of "
            f"generated images on; AuthPct is {space.auth_pct:.0f} % (unseen images "
            f"{space.auth_pct_test:.0f} %), C_T {space.c_t:+.1f}."
        )
        if space.train < trained_on:
            context.append(
                f"By {space.space}, only {space.train} of {trained_on} training images were "
                f"compared: about that share of copies can be seen."
            )
    if sure:
        finding: Finding = "copies"
    elif hints:
        finding = "suspicious"
    elif not spaces or min(space.singled_out.detectable for space in spaces) > 0.2:
        finding = "too few images"
    else:
        finding = "nothing found"
    return Verdict(finding, [*sure, *hints], context)
