"""The section `compute`: where the images are worked on, and what a run may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ganpipe.params.section import Section


class ComputeParams(Section):
    """Where images are worked on, and what a run may take; no byte of the outcome depends on it."""

    engine: Annotated[
        Literal["local", "dask"],
        Field(description="local: processes of this machine; dask: the workers of a Dask cluster"),
    ] = "local"
    address: Annotated[
        str, Field(description="dask: address of the scheduler, like tcp://10.0.0.1:8786")
    ] = ""
    processes: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="local: worker processes; 0 is one for each core the process may use",
        ),
    ] = 0
    hours: Annotated[
        float,
        Field(
            ge=0,
            le=8760,
            description="hours that the stages of a run may take; then training saves its exact "
            "state and the run ends as TimeLimit, to be gone on with by a retry, which has as many "
            "hours again; 0 is no limit",
        ),
    ] = 0.0
    watts: Annotated[
        float,
        Field(
            ge=0,
            le=100_000,
            description="what one device draws under load, for the report's estimate of energy: "
            "its board power from the data sheet, or the power limit that `nvidia-smi -q -d POWER` "
            "shows; 0 makes no estimate",
        ),
    ] = 0.0

    @model_validator(mode="after")
    def _dask_needs_an_address(self) -> ComputeParams:
        if self.engine == "dask" and not self.address:
            raise ValueError(
                "compute.engine=dask needs compute.address, the address of the Dask scheduler"
            )
        return self
