"""What the flow `housekeeping` may delete."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganpipe.params.section import Section

Kind = Literal["workspaces", "states", "versions", "runs", "models", "logs", "notes", "cache"]


class HousekeepingParams(Section):
    """What is old enough to go, if nothing needs it any more."""

    older_than_days: Annotated[
        float,
        Field(ge=0, le=36500, description="only what was last written so many days ago goes"),
    ] = 30.0
    keep_last: Annotated[
        int,
        Field(
            ge=0,
            le=10_000,
            description="so many of the newest workspaces, runs, and versions of each model stay",
        ),
    ] = 5
    only: Annotated[
        tuple[Kind, ...],
        Field(
            description="what to look at; empty: all. cache is DVC's, states are those of "
            "interrupted trainings, models are downloads, notes are what sweeps and watches go "
            "on with"
        ),
    ] = ()
    prefect_days: Annotated[
        float,
        Field(
            ge=0,
            le=36500,
            description="flow runs of ganpipe's deployments that ended so many days ago go from "
            "Prefect, with their artifacts and logs; 0 keeps all",
        ),
    ] = 90.0
    dry_run: Annotated[bool, Field(description="only show what would go")] = False
