"""How the threads of a process wait for each other; asked for before OpenMP is loaded by torch."""

from __future__ import annotations

import os

SPINS = "GOMP_SPINCOUNT"
ITERATIONS = "10000"  # about half a millisecond; OpenMP's own 300,000 pay only on idle machines


def share_cores() -> None:
    """Let a thread that waits give its core away soon, unless the environment says how.

    A thread that spins while its partner has no core stands in that partner's way: on two cores,
    two trainings in float32 at once ran at 45 images/s each with OpenMP's own number, and at 180
    with this one. Alone, the difference is lost in the noise. No result depends on it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault(SPINS, ITERATIONS)
