"""The section `evaluate`: how a generator is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganpipe.params.section import Section


class EvaluateParams(Section):
    """How the generator is measured."""

    extractor: Annotated[
        Literal["lite0"],
        Field(description="feature network; lite0 (EfficientNet-Lite0) ships inside a package"),
    ] = "lite0"
    samples: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="generated images, and as many real ones; 0 takes half of the real "
            "images, at most 10,000, so that the floor has as many others",
        ),
    ] = 0
    seed: Annotated[
        int,
        Field(ge=0, lt=2**63, description="seed of the evaluated latents and of the real subset"),
    ] = 1
    precision: Annotated[
        Literal["float32", "bf16"],
        Field(description="of the features; bf16 is a fast mode whose metric has its own name"),
    ] = "float32"
    threads: Annotated[
        int, Field(ge=0, le=1024, description="CPU threads; 0 is every core the process may use")
    ] = 0
