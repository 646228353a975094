"""What can be asked of a trained generator: a form in Prefect, options of `ganpipe generate`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from ganpipe.errors import GanpipeError
from ganpipe.params.data import NearDistance
from ganpipe.params.evaluate import Threads
from ganpipe.params.section import Section

ANY, BALANCED = "any", "balanced"
# a folder of more files is slow to list and to copy; shards and Parquet hold many images each
MOST = {"png": 1_000_000, "shards": 100_000_000, "parquet": 100_000_000}
MOST_FILTERED = 100_000  # each sample is held against all that were kept before it


class GenerateParams(Section):
    """Images of a trained generator: how many, of what, in which form, and where to."""

    model: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            description="models:/NAME@ALIAS, models:/NAME/VERSION, or a folder with a generator",
        ),
    ] = "models:/ganpipe@champion"
    n: Annotated[
        int,
        Field(
            ge=1,
            le=max(MOST.values()),
            description="number of images; png: at most 1,000,000, with a filter 100,000",
        ),
    ] = 64
    seed: Annotated[
        int, Field(ge=0, lt=2**63, description="the same seed gives the same images")
    ] = 0
    classes: Annotated[
        str,
        Field(
            max_length=100_000,
            description="any: in the shares of the training images; balanced: as many of each; or "
            "counts that come to n, as {cat: 60, dog: 4}",
        ),
    ] = ANY
    truncation: Annotated[
        float,
        Field(gt=0, le=1, description="below 1 trades variety for typical images; 1 is none"),
    ] = 1.0
    format: Annotated[
        Literal["png", "shards", "parquet"],
        Field(
            description="png: a folder of PNG files with metadata.jsonl; shards: ganpipe's own "
            "data set, uint8 arrays; parquet: PNG bytes in Hugging Face's layout"
        ),
    ] = "png"
    destination: Annotated[
        str,
        Field(
            max_length=4096,
            description="folder, or a URL such as s3://bucket/folder; a relative one lies in the "
            "current folder, under a worker in the repository; empty: a folder of its own below "
            ".ganpipe/samples",
        ),
    ] = ""
    filter: Annotated[
        Literal["none", "near-duplicates", "memorised", "both"],
        Field(
            description="samples to drop and replace by others. near-duplicates: that look like "
            "an earlier one of their class; memorised: that single out one training image, as "
            "1 % of unseen images do, or equal one (needs the training set on this machine)"
        ),
    ] = "none"
    near_distance: NearDistance = 4
    threads: Threads = 0
    replace: Annotated[
        bool,
        Field(description="replace what an earlier `generate` of another request left there"),
    ] = False

    @field_validator("classes", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _possible(self) -> GenerateParams:
        most = MOST[self.format]
        if self.n > most:
            raise ValueError(
                f"n={self.n}: format={self.format} holds at most {most:,} images; use "
                "format=shards or parquet"
            )
        if self.filter != "none" and self.n > MOST_FILTERED:
            raise ValueError(
                f"n={self.n}: with filter={self.filter} ask for at most {MOST_FILTERED:,} images, "
                "or use filter=none"
            )
        if (counts := self.counts) is not None and sum(counts.values()) != self.n:
            raise ValueError(
                f"classes={self.classes} come to {sum(counts.values())} images, but n={self.n}: "
                "make them equal"
            )
        return self

    @property
    def finds_near(self) -> bool:
        """Whether near duplicates are dropped."""
        return self.filter in ("near-duplicates", "both")

    @property
    def finds_copies(self) -> bool:
        """Whether copies of training images are dropped."""
        return self.filter in ("memorised", "both")

    @property
    def counts(self) -> dict[str, int] | None:
        """Images of each class by its name; None for any and balanced. Raises ValueError."""
        if self.classes in (ANY, BALANCED):
            return None
        problem = ValueError(
            f"classes={self.classes} is not allowed: write any, balanced, or counts of 0 or more "
            "like {cat: 60, dog: 4}"
        )
        try:
            # builds nothing but text, so that classes called 7 and no keep their names
            read = yaml.load(self.classes, Loader=yaml.BaseLoader)  # noqa: S506
        except yaml.YAMLError:
            raise problem from None
        if not isinstance(read, dict) or not all(
            isinstance(name, str) and isinstance(count, str) and count.strip().isdecimal()
            for name, count in read.items()
        ):
            raise problem
        return {name: int(count) for name, count in read.items()}


def generate_params(**values: Any) -> GenerateParams:
    """The parameters. Raises GanpipeError that names each bad value and what is allowed."""
    try:
        return GenerateParams(**values)
    except ValidationError as error:
        told = []
        for each in error.errors():
            message = str(each["msg"]).removeprefix("Value error, ")
            name = ".".join(map(str, each["loc"]))
            told.append(f"{name}={each['input']} is not allowed: {message}" if name else message)
        raise GanpipeError("\n".join(told)) from None
