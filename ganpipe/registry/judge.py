"""What gate and verify say of a version, without moving anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ganpipe.errors import GanpipeError
from ganpipe.registry.evaluations import comparable, evaluation_of
from ganpipe.registry.gate import Decision, Result, gate, summed_up
from ganpipe.registry.versions import CHAMPION, aliases, existing, find

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

Verify = Callable[["ModelVersion"], list[str]]
"""What of a version's bytes cannot be found; empty when all is there."""
VERIFY = "every byte can be found"


def judge(uri: str, model: str, version: str, rules: Sequence[str], margin: float) -> Decision:
    """What the gate says of a version (`3`, an alias, models:/...) beside today's champion."""
    from ganpipe.registry.moves import outages
    from ganpipe.tracking import connect

    found = find(uri, version, model)
    with outages(uri):
        client = connect(uri)
        number = aliases(client, found.name).get(CHAMPION)
        champion = existing(client, found.name, number) if number else None
        return compared(uri, found, champion, rules, margin)


def compared(
    uri: str,
    version: ModelVersion,
    champion: ModelVersion | None,
    rules: Sequence[str],
    margin: float,
) -> Decision:
    """What the gate says of a version beside another one."""
    names = (str(version.version), str(champion.version) if champion else "")
    try:
        if champion is None:
            ours, theirs = evaluation_of(uri, version), None
        else:
            ours, theirs = comparable(uri, version, champion)
    except GanpipeError as error:  # an evaluation is damaged, or of another generator
        results = tuple(Result(rule, False, str(error), {}) for rule in rules)
        return summed_up(results, names[1])
    return gate(ours, theirs, rules, margin, names, version.name)


def verified(verify: Verify, version: ModelVersion) -> Result:
    """What `verify` says, as a result beside those of the gate."""
    try:
        missing = verify(version)
    except GanpipeError as error:
        missing = [str(error)]
    if not missing:
        return Result(VERIFY, True, "all that its dvc.lock names is there", {})
    told = "; ".join(missing[:3]) + (f" and {len(missing) - 3} more" if missing[3:] else "")
    return Result(VERIFY, False, f"not every byte can be found again: {told}", {})
