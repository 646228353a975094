"""Numbers for people, and what the difference to the champion means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ganpipe.evaluation.report.content import Measure

MINUS = "\N{MINUS SIGN}"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NOTHING = "\N{EN DASH}"


def number(value: float | None) -> str:
    """A number in about four digits; NOTHING for None, `not finite` where it is not."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e6 or size < 1e-4:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        written = (
            f"{mantissa} \N{MULTIPLICATION SIGN} 10{str(int(exponent)).translate(SUPERSCRIPTS)}"
        )
    elif size >= 999.95:
        written = f"{value:,.0f}"
    else:
        whole = math.floor(math.log10(size)) + 1
        written = f"{value:.{min(max(4 - whole, 1), 6)}f}" if size >= 1 else f"{value:#.3g}"
    return written.replace("-", MINUS)


def signed(value: float) -> str:
    """The same with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)


def interval(measure: Measure) -> str:
    """Like `11.86 to 12.41`, or NOTHING."""
    if measure.low is None or measure.high is None:
        return NOTHING
    return f"{number(measure.low)} to {number(measure.high)}"


@dataclass(frozen=True)
class Difference:
    """A measure beside the champion's."""

    amount: str
    """With its sign and, where it makes sense, as a share: `+1.20 (+4.5 %)`."""
    verdict: Literal["better", "worse", "unclear", "same", "different"]

    @property
    def mark(self) -> str:
        """A sign that says it without colour."""
        signs = {"better": "✓", "worse": "✗", "unclear": "≈", "same": "=", "different": "≠"}
        return signs[self.verdict]

    @property
    def words(self) -> str:
        return "no clear difference" if self.verdict == "unclear" else self.verdict


def difference(measure: Measure) -> Difference | None:
    """How a measure differs from the champion's; None where there is nothing to compare.

    It is unclear while the two are nearer than their intervals together reach: the root of the
    sum of their squared half widths. Without an interval nothing is called better or worse.
    """
    champion = measure.champion
    if champion is None or not math.isfinite(champion) or not math.isfinite(measure.value):
        return None
    change = measure.value - champion
    amount = signed(change)
    # as a share only where both are positive: KID and differences may be nought or negative
    if change and champion > 0 and measure.value > 0:
        amount += f" ({100 * change / champion:+.1f} %)".replace("-", MINUS)
    return Difference(amount, _verdict(measure, champion, change))


def _verdict(
    measure: Measure, champion: float, change: float
) -> Literal["better", "worse", "unclear", "same", "different"]:
    if change == 0:
        return "same"
    below = change < 0
    mine = _reach(measure.value, measure.low, measure.high, up=below)
    theirs = _reach(champion, measure.champion_low, measure.champion_high, up=not below)
    known = [reach for reach in (mine, theirs) if reach is not None]
    if known and abs(change) <= math.hypot(*known):
        return "unclear"
    if mine is None or measure.better == "neither":
        return "different"
    return "better" if (change < 0) == (measure.better == "lower") else "worse"


def _reach(value: float, low: float | None, high: float | None, *, up: bool) -> float | None:
    """How far an interval reaches from its value to the side of the other one."""
    end = high if up else low
    return None if end is None else abs(end - value)


def headline(measure: Measure, champion: str) -> str:
    """What the first measure comes to, in one sentence."""
    if not math.isfinite(measure.value):
        return "The distance is not a finite number: see the warnings."
    found = difference(measure)
    if found is None:
        return "There is no champion to compare with."
    other = f"the champion ({champion})" if champion else "the champion"
    if found.verdict == "same":
        return f"The same as {other}."
    if found.verdict == "unclear":
        return f"No clear difference to {other}: both lie within each other's intervals."
    if found.verdict == "different":
        return f"Different from {other} by {found.amount}."
    return f"{found.verdict.capitalize()} than {other} by {found.amount}."
