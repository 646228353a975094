"""What a sweep tries: a form in Prefect."""

from __future__ import annotations

import difflib
import math
from typing import Annotated, Any, get_args

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from ganpipe.params.model import ModelParams
from ganpipe.params.retrain import Overrides
from ganpipe.params.section import Section
from ganpipe.params.train import TrainParams

Value = bool | int | float | str | None
# other sections decide what is measured: their numbers could not be compared
VARIED: dict[str, type[Section]] = {"model": ModelParams, "train": TrainParams}
MOST_TRIALS = 1000


class Range(Section):
    """Numbers that a study may choose from, both ends included."""

    low: Annotated[float, Field(description="smallest value")]
    high: Annotated[float, Field(description="largest value")]
    log: Annotated[
        bool, Field(description="look at magnitudes: 1e-4 to 1e-3 like 1e-3 to 1e-2")
    ] = False


class SweepParams(Section):
    """Train with several values of some parameters; the best generator is registered."""

    over: Annotated[
        dict[str, tuple[Value, ...] | Range],
        Field(
            min_length=1,
            max_length=20,
            description="parameters of model and train, each with a list of values or, for a "
            'study, a range: {"train.lr": [0.001, 0.002]} or {"train.lr": {"low": 0.0001, '
            '"high": 0.01, "log": true}}',
        ),
    ] = {"train.lr": (5e-4, 1e-3, 2e-3)}  # noqa: RUF012 - frozen
    trials: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_TRIALS,
            description="trainings of a study, in which Optuna (TPE) chooses the values by the "
            "distances so far; 0: a grid, every combination of the lists",
        ),
    ] = 0
    seed: Annotated[
        int,
        Field(ge=0, lt=2**31, description="seed of what a study chooses; the same tries the same"),
    ] = 0
    overrides: Overrides = ()

    @model_validator(mode="after")
    def _possible(self) -> SweepParams:
        for key, values in self.over.items():
            annotation = _annotation(key)
            if isinstance(values, Range):
                _check_range(key, values, self.trials)
                if not {int, float} & {annotation, *get_args(annotation)}:
                    raise ValueError(f"over: {key} is no number and has no range: write a list")
            tried = (values.low, values.high) if isinstance(values, Range) else values
            if not tried:
                raise ValueError(f"over: {key} has no value: write at least one")
            for value in tried:
                _check(key, value, annotation)
        if self.trials == 0 and self.combinations > MOST_TRIALS:
            raise ValueError(
                f"over: {self.combinations:,} combinations are more than {MOST_TRIALS:,}: write "
                "fewer values, or set trials to let a study choose among them"
            )
        return self

    @property
    def combinations(self) -> int:
        """Trainings of the grid."""
        return math.prod(len(each) for each in self.over.values() if not isinstance(each, Range))

    @property
    def count(self) -> int:
        """Trainings altogether."""
        return self.trials or self.combinations


def is_whole(key: str) -> bool:
    """Whether a parameter is a whole number."""
    annotation = _annotation(key)
    return annotation is int or int in get_args(annotation)


def _annotation(key: str) -> Any:
    section, _, name = key.partition(".")
    if section not in VARIED:
        raise ValueError(
            f"over: {key} cannot be varied: distances compare only where model.* and train.* differ"
        )
    fields = VARIED[section].model_fields
    if name not in fields:
        close = difflib.get_close_matches(name, fields, n=1)
        guess = f": did you mean {section}.{close[0]}?" if close else ""
        raise ValueError(f"over: {key} is not a parameter{guess}")
    return fields[name].annotation


def _check(key: str, value: Any, annotation: Any) -> None:
    section, _, name = key.partition(".")
    field = VARIED[section].model_fields[name]
    kind: Any = annotation
    for limit in field.metadata:
        kind = Annotated[kind, limit]
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        message = str(error.errors()[0]["msg"])
        raise ValueError(
            f"over: {key}={value} is not allowed: {message[0].lower()}{message[1:]}"
        ) from None


def _check_range(key: str, values: Range, trials: int) -> None:
    told = f"over: {key} from {values.low:g} to {values.high:g}"
    if trials == 0:
        raise ValueError(
            f"{told} is a range, of which a study chooses: set trials to the number of trainings, "
            "or write a list"
        )
    if not values.low < values.high:
        raise ValueError(f"{told}: low must be below high")
    if values.log and values.low <= 0:
        raise ValueError(f"{told}: with log, low must be above 0")
