"""What a look at one thing comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

INSTALL = "run `make setup`, or `pip install -r requirements.lock`"


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    status: Literal["ok", "warn", "fail"]
    """fail: something that ganpipe needs; warn: it works, but look at it."""
    found: str
    remedy: str = ""
    """What to do when the status is not ok."""
