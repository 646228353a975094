"""The gate between candidate and champion: rules, each with a result that a person can read."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganpipe.params.register import BETTER, NO_MEMORISATION, RULE
from ganpipe.registry.evaluations import Evaluation, digest

SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
UNMEASURED = "this version carries no evaluation"


@dataclass(frozen=True)
class Result:
    """What became of one rule."""

    rule: str
    passed: bool
    told: str
    numbers: Mapping[str, float | None]


@dataclass(frozen=True)
class Decision:
    """What the gate says of a version."""

    passed: bool
    reason: str
    """One line for people."""
    results: tuple[Result, ...] = ()
    champion: str = ""
    """The version that it was compared with; empty where there was none."""
    protocol: str = ""
    """Digest of the protocol of all numbers, as `evaluations.digest` makes it."""

    def beside(self, *others: Result) -> Decision:
        """The same with the results of conditions that are no rules of the gate."""
        return summed_up((*self.results, *others), self.champion, self.protocol)


def gate(
    candidate: Evaluation | None,
    champion: Evaluation | None,
    rules: Sequence[str],
    margin: float = 0.0,
    names: tuple[str, str] = ("", ""),
    model: str = "",
) -> Decision:
    """Whether a candidate may become champion.

    `names`: the versions of candidate and champion, of a `model` for who has several; an empty one
    of the champion says that there is none to beat. `margin` is a share: 0.02 is 2 %.
    """
    if candidate is None:
        results = tuple(Result(rule, False, UNMEASURED, {}) for rule in rules)
        return summed_up(results, names[1])
    remedy = _remedy(names, model)
    results = tuple(_result(rule, candidate, champion, margin, names, remedy) for rule in rules)
    return summed_up(results, names[1], digest(candidate.protocol))


def summed_up(results: tuple[Result, ...], champion: str = "", protocol: str = "") -> Decision:
    """A decision with its reason: all that failed, else what the first rule says."""
    failed = [result for result in results if not result.passed]
    shown = failed or results[:1]
    told = list(dict.fromkeys(result.told for result in shown))  # once where all fail alike
    reason = "; ".join(told) or "the gate has no rules"
    return Decision(not failed, reason, results, champion, protocol)


def _result(
    rule: str,
    candidate: Evaluation,
    champion: Evaluation | None,
    margin: float,
    names: tuple[str, str],
    remedy: str,
) -> Result:
    if rule == NO_MEMORISATION:
        return _no_memorisation(candidate)
    if rule == BETTER:
        return _better(candidate, champion, margin, names, remedy)
    return _bound(rule, candidate)


def _bound(rule: str, candidate: Evaluation) -> Result:
    parts = re.fullmatch(RULE, rule)
    if parts is None:
        raise ValueError(f"{rule!r} is no rule")
    name, sign, bound = parts["measure"], parts["sign"], float(parts["bound"])
    if name == "samples":
        known, value = name, candidate.protocol.get(name)
    else:
        row = candidate.measure(name)
        known, value = (row["name"], row["value"]) if row else (name, None)
    if not isinstance(value, int | float):
        return Result(rule, False, f"{name} was not measured, so {rule} cannot be judged", {})
    numbers = {"value": float(value), "bound": bound}
    passed = SIGNS[sign](value, bound)  # false for what is not a number
    told = f"{known} is {value:.4g}"
    return Result(
        rule, passed, f"{told}, as asked" if passed else f"{told}, not {sign} {bound:g}", numbers
    )


def _no_memorisation(candidate: Evaluation) -> Result:
    verdict = candidate.memorisation
    if isinstance(verdict, str):
        return Result(NO_MEMORISATION, False, f"whether it copies cannot be judged: {verdict}", {})
    finding = verdict.get("finding", "unknown")
    evidence = "; ".join(verdict.get("evidence", ()))
    told = f"memorisation: {finding}" + (f" ({evidence})" if evidence else "")
    # hints are no proof: blur and small variety bring them too
    return Result(NO_MEMORISATION, finding in ("nothing found", "suspicious"), told, {})


def _remedy(names: tuple[str, str], model: str) -> str:
    """What makes two versions comparable that were measured differently."""
    one, two = (f"models:/{model}/{name}" if model and name else name or "it" for name in names)
    return f"`ganpipe evaluate {two} --like {one}` measures the champion as this one was"


def _better(
    candidate: Evaluation,
    champion: Evaluation | None,
    margin: float,
    names: tuple[str, str],
    remedy: str,
) -> Result:
    metric = candidate.metric
    ours = candidate.measure(metric)
    if ours is None:
        return Result(BETTER, False, f"{metric} was not measured", {})
    value = float(ours["value"])
    if not math.isfinite(value):
        return Result(BETTER, False, f"{metric} is {value}", {"candidate": value})
    if not names[1]:
        told = "the first version: there was no champion to beat"
        return Result(BETTER, True, told, {"candidate": value})
    other = f"champion version {names[1]}"
    if champion is None:
        told = f"{other} carries no evaluation to compare with: {remedy}"
        return Result(BETTER, False, told, {"candidate": value})
    if different := _different(candidate.protocol, champion.protocol):
        told = f"measured by another protocol than {other} ({different}): {remedy}"
        return Result(BETTER, False, told, {"candidate": value})
    return _beaten(ours, champion.measure(metric), margin, other)


def _different(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    keys = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    return "; ".join(f"{key} {theirs.get(key)!r} v {ours.get(key)!r}" for key in keys)


def _beaten(
    ours: dict[str, Any], theirs: dict[str, Any] | None, margin: float, other: str
) -> Result:
    """Whether the headline is better by more than the margin and than the intervals reach."""
    from ganpipe.evaluation.report import Measure
    from ganpipe.evaluation.report.numbers import difference

    name, value = ours["name"], float(ours["value"])
    best = float(theirs["value"]) if theirs else math.nan
    if not math.isfinite(best):
        told = f"{name} {value:.4g}, where {other} has {best}"
        return Result(BETTER, True, told, {"candidate": value, "champion": best})
    low, high = (theirs or {}).get("low"), (theirs or {}).get("high")
    measure = Measure(
        name,
        value,
        ours["better"],
        low=ours.get("low"),
        high=ours.get("high"),
        champion=best,
        champion_low=low,
        champion_high=high,
    )
    lower = measure.better != "higher"
    step = margin * abs(best)
    threshold = best - step if lower else best + step
    numbers = {
        "candidate": value,
        "low": measure.low,
        "high": measure.high,
        "champion": best,
        "champion_low": low,
        "champion_high": high,
        "threshold": threshold,
    }
    found = difference(measure)
    compared = f"{name} {value:.4g} against {other}'s {best:.4g}"
    if not (value < threshold if lower else value > threshold):
        asked = f" less {margin:.1%}" if margin else ""
        return Result(BETTER, False, f"{compared}: does not beat it{asked}", numbers)
    if found is not None and found.verdict == "unclear":
        told = f"{compared}: no clear difference, their intervals reach over it"
        return Result(BETTER, False, told, numbers)
    unsure = "" if found is not None and found.verdict == "better" else " (no interval is known)"
    return Result(BETTER, True, f"{compared}: beats it{unsure}", numbers)
