"""What a watch comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Finding:
    """One measure of images against the champion's reference."""

    measure: str
    """`kid_lite0 of incoming images`: what was measured, of which images."""
    value: float
    low: float
    """Where the value may lie, at 95 %; the value itself where no interval is known."""
    high: float
    chance: float
    """The most that is to be expected without drift; see the measure's own text."""
    threshold: float
    images: int

    @property
    def drifted(self) -> bool:
        """More than is asked for, and more than chance explains."""
        return self.value > self.threshold and self.low > self.chance


@dataclass(frozen=True)
class Share:
    """A class among the champion's real images and among those that came in: 0 ... 1."""

    name: str
    expected: float
    found: float


@dataclass(frozen=True)
class Watched:
    """Everything that a watch has seen."""

    champion: str
    """Like `ganpipe version 3`."""
    listed: int
    """Files of the source."""
    new: int
    """Those that no earlier watch has counted, nor its champion has learnt from."""
    looked_at: int
    """Images that were compared."""
    set_aside: dict[str, int] = field(default_factory=dict)
    """Files among them that are no usable image, by reason."""
    findings: tuple[Finding, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    """What could not be told, and why."""
    shares: tuple[Share, ...] = ()
    by_classifier: bool = False
    """The classes were told by the reference's classifier: nothing says those of what came in."""
    pictures: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Some images each, uint8 [n, H, W, C]: incoming, reference, served."""
    others: dict[str, Any] = field(default_factory=dict)
    """The fingerprint of the champion's own source where enough new images came to it."""
    before: str = ""
    """Digest of the fingerprint that the champion was made of; empty where it is not known."""
    remember: Callable[[], None] = lambda: None
    """Count these images as seen. To be called when what was found has been told."""

    @property
    def drift(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.drifted)
