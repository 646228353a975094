"""The section `register`: when a generator becomes a version, and a version champion."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganpipe.params.section import Section


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
    promote: Annotated[
        Literal["auto", "never"],
        Field(description="auto: a candidate that passes the gate becomes champion"),
    ] = "auto"
    margin: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share by which the champion's distance must be undercut; 0.02 is 2 %",
        ),
    ] = 0.0
