"""What is noted of each step: sums on the device, read once for each point of the curves."""

from __future__ import annotations

import torch
from torch import Tensor

CURVES = (
    "loss_generator",
    "loss_discriminator",
    "score_real",
    "score_fake",
    "rank",  # share of real-fake pairs whose real image has the higher score: 0.5 is a draw
    "r1",
    "r2",
    "gp",
    "gradient_generator",
    "gradient_discriminator",
    "augment",
)


class Means:
    """Sums since the last point of the curves, and how many steps each sum holds."""

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(CURVES), device=device)
        self.counts = torch.zeros(len(CURVES))

    def note(self, **values: Tensor | float) -> None:
        """Add the values of one step without waiting for the device."""
        for name, value in values.items():
            place = CURVES.index(name)
            self.sums[place] += value.detach() if isinstance(value, Tensor) else value
            self.counts[place] += 1

    def take(self) -> dict[str, float]:
        """Means since the last call, in the order of CURVES; a curve without steps is left out."""
        means = (self.sums.cpu() / self.counts).tolist()
        counted = [count > 0 for count in self.counts.tolist()]
        self.sums.zero_()
        self.counts.zero_()
        return {
            name: mean for name, mean, known in zip(CURVES, means, counted, strict=True) if known
        }
