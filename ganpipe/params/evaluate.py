"""The section `evaluate`: how a generator is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ganpipe.params.section import Section

Threads = Annotated[
    int, Field(ge=0, le=1024, description="CPU threads; 0 is every core the process may use")
]


class EvaluateParams(Section):
    """How the generator is measured."""

    extractor: Annotated[
        Literal["lite0", "inception", "inception-clean", "dinov2-b14", "dinov2-l14", "classifier"],
        Field(
            description="feature network; lite0 ships inside a package, classifier is trained on "
            "the data set's own classes, the others' weights are downloaded or come from `weights`"
        ),
    ] = "lite0"
    weights: Annotated[
        str,
        Field(
            max_length=4096,
            description="file with the feature network's weights; empty looks in the cache folder "
            "and downloads what is missing",
        ),
    ] = ""
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
        Field(description="how features are computed; bf16 is fast, its metric has another name"),
    ] = "float32"
    neighbours: Annotated[
        int,
        Field(
            ge=2,
            le=100_000,
            description="images of each side that measures of all pairs look at (KID, precision, "
            "recall, density, coverage, memorisation); cost grows with its square",
        ),
    ] = 10_000
    usefulness: Annotated[
        Literal["auto", "never"],
        Field(
            description="auto: where there are classes, train a small classifier on generated "
            "images and test it on real ones, and the reverse"
        ),
    ] = "auto"
    threads: Threads = 0

    def anchored(self, repo: Path) -> EvaluateParams:
        """The same with an absolute path of the weights: a run works in a folder of its own."""
        if not self.weights:
            return self
        return self.model_copy(update={"weights": str(repo / Path(self.weights).expanduser())})
