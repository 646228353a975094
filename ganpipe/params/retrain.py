"""What a retraining may be told: a form in Prefect."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganpipe.params.section import Section

Overrides = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z]+\.[a-z0-9_]+=.*$", max_length=4096)], ...],
    Field(
        max_length=100,
        description="parameters other than those of params.yaml, each as section.key=value, for "
        "instance train.kimg=300",
    ),
]


class RetrainParams(Section):
    """Train again where data, code or parameters are other than the champion's."""

    start: Annotated[
        Literal["scratch", "champion"],
        Field(
            description="scratch: new networks; champion: go on from the champion's full state for "
            "train.kimg more, with counters and schedules from 0. In place of train.start",
        ),
    ] = "scratch"
    overrides: Overrides = ()
