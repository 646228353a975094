"""What each trial of a sweep tries: a pure function of its number and of the trials before it."""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganpipe import params as parameters
from ganpipe.params import Params
from ganpipe.params.sweep import Range, SweepParams, is_whole

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point = dict[str, Any]  # `section.key` to value


def point(asked: SweepParams, before: Sequence[tuple[Point, float | None]]) -> Point:
    """What the trial after those `before` tries; each is what it tried and its distance, or None.

    Of a grid the next combination, the key that comes first in the alphabet varying fastest. Of a
    study what Optuna's TPE sampler chooses (Bergstra et al. 2011), seeded anew for each trial: so
    a sweep that was killed goes on as if it had not been. In whichever order the keys are written,
    a number stands for the same.
    """
    over = {key: asked.over[key] for key in sorted(asked.over, reverse=True)}
    if asked.trials == 0:
        lists = [values for values in over.values() if not isinstance(values, Range)]
        combination = next(itertools.islice(itertools.product(*lists), len(before), None))
        return dict(zip(over, combination, strict=True))
    import optuna
    from optuna.trial import create_trial

    space = {key: _distribution(key, values) for key, values in over.items()}
    drawn = hashlib.sha256(f"{asked.seed} {len(before)}".encode()).digest()
    sampler = optuna.samplers.TPESampler(seed=int.from_bytes(drawn[:4]))
    logging.getLogger("optuna").setLevel(logging.WARNING)  # else it tells of each study
    study = optuna.create_study(sampler=sampler)
    for tried, distance in before:
        # not as failed, which the sampler ignores: it would try the like again and again
        value = math.inf if distance is None else distance
        study.add_trial(create_trial(value=value, params=tried, distributions=space))
    return dict(study.ask(space).params)


def _distribution(key: str, values: tuple[Any, ...] | Range) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(values, Range):
        return CategoricalDistribution(values)
    if is_whole(key):
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def applied(base: Params, tried: Mapping[str, Any]) -> Params:
    """The parameters of a trial. Raises GanpipeError where they do not go together."""
    values = base.dump()
    for key, value in tried.items():
        section, _, name = key.partition(".")
        values[section][name] = value
    return parameters.validate(values, source=", ".join(f"{k}={v}" for k, v in tried.items()))
