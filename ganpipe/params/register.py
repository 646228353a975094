"""The section `register`: when a generator becomes a version, and a version champion."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from ganpipe.params.section import Section

BETTER, NO_MEMORISATION = "better", "no memorisation"
RULE = (
    rf"^({BETTER}|{NO_MEMORISATION}"
    r"|(?P<measure>[a-z][a-z0-9_]*) *(?P<sign>>=|<=|>|<) *(?P<bound>-?[0-9]+(\.[0-9]+)?))$"
)


def _rule(text: str) -> str:
    if re.fullmatch(RULE, text) is None:
        raise ValueError(
            f"register.gate: {text!r} is no rule: write {BETTER}, {NO_MEMORISATION}, or a measure "
            "and a bound, like recall >= 0.1 or samples >= 500"
        )
    return text


Rule = Annotated[
    str,
    AfterValidator(_rule),
    # named groups are Python's own; forms know regular expressions without them
    Field(json_schema_extra={"pattern": re.sub(r"\?P<\w+>", "", RULE)}),
]


class RegisterParams(Section):
    """When a generator becomes a model version, and when a version becomes champion."""

    model: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            pattern=r"^[^/:%\"']+$",
            description="name in the MLflow model registry",
        ),
    ] = "ganpipe"
    approval: Annotated[
        Literal["auto", "person", "never"],
        Field(
            description="auto: a candidate that passes the gate becomes champion; person: it waits "
            "for the flow promote; never: for `ganpipe promote`"
        ),
    ] = "auto"
    gate: Annotated[
        tuple[Rule, ...],
        Field(
            description="rules that a candidate must all pass. better: its headline measure beats "
            "the champion's by more than margin and beyond both intervals, under one protocol; "
            "no memorisation: no copying was found; or a measure (its name up to the feature "
            "network's), or samples, with a bound"
        ),
    ] = (BETTER, "recall >= 0.1", "coverage >= 0.1", "samples >= 500", NO_MEMORISATION)
    margin: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share by which the champion's headline measure must be beaten; "
            "0.02 is 2 %",
        ),
    ] = 0.0

    @field_validator("gate", mode="before")
    @classmethod
    def _rules(cls, value: Any) -> Any:
        """Also `better, recall >= 0.2`, which is what people write after --set."""
        if isinstance(value, str):
            return tuple(rule.strip() for rule in value.split(",") if rule.strip())
        return value
