"""The section `data`: which images, and the shape they get."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ganpipe.params.section import Section

SourceName = Literal[
    "digits",
    "fashion-mnist",
    "mnist",
    "cifar10",
    "celeba",
    "folder",
    "archive",
    "idx",
    "npz",
    "parquet",
]
NEEDS_PATH = ("folder", "archive", "idx", "npz", "parquet")
Side = Annotated[int, Field(ge=1, le=4096)]
NearDistance = Annotated[
    int,
    Field(
        ge=0,
        le=8,
        description="bits of 64 in which the perceptual hashes of near duplicates may differ",
    ),
]


class DataParams(Section):
    """Which images to learn from, which of them are good enough, and the shape they get."""

    source: Annotated[
        SourceName,
        Field(
            description="digits is built in; fashion-mnist, mnist, cifar10 and celeba are found "
            "on the machine or downloaded; the others read data.path"
        ),
    ] = "digits"
    path: Annotated[
        str,
        Field(
            description="the folder, archive or file of images, or a URL (s3://, gs://, https://, "
            "file://); for data sets by name a folder with their files (empty: the usual places)"
        ),
    ] = ""
    labels: Annotated[
        Literal["auto", "folders", "file", "none"],
        Field(
            description="where classes come from; data sets by name, arrays and parquet know "
            "theirs. folders: the first sub-folder; file: labels.csv or metadata.jsonl; auto: such "
            "a file if there is one, else the sub-folders if every usable image lies in one; "
            "none: no classes, whatever the source"
        ),
    ] = "auto"
    resolution: Annotated[
        int | tuple[Side, Side],
        Field(
            description="one number for squares, or [height, width], in pixels: what the "
            "architecture can make (dcgan: 4, 7 or 8 times a power of two); 0 lets the source "
            "choose (digits 16, fashion-mnist 28) or keeps the size of the images, which must "
            "then all be of one size",
        ),
    ] = 0
    crop: Annotated[
        Literal["center", "none", "letterbox"],
        Field(
            description="how images get the shape. center: the largest centred part of that "
            "shape; none: stretched; letterbox: all of it, on the background"
        ),
    ] = "center"
    resize: Annotated[
        Literal["lanczos", "area", "bicubic"],
        Field(description="how images get the size; all are antialiased"),
    ] = "lanczos"
    channels: Annotated[
        Literal["auto", "grey", "rgb"],
        Field(description="auto is grey when every image is grey, else rgb"),
    ] = "auto"
    background: Annotated[
        str,
        Field(
            description="colour (#rrggbb) behind transparent images and beside letterboxed ones",
        ),
    ] = "#ffffff"
    test_fraction: Annotated[
        float,
        Field(
            ge=0.01,
            le=0.5,
            description="share of images kept from training, chosen by content hash; "
            "a source with a published split (fashion-mnist) keeps its own",
        ),
    ] = 0.1
    min_side: Annotated[
        int,
        Field(ge=1, le=4096, description="images with a side below this are set aside, in pixels"),
    ] = 8
    max_pixels: Annotated[
        int,
        Field(
            ge=1,
            le=2**31,
            description="images with more pixels than this are set aside: a small file may "
            "unfold into gigabytes (a worker process needs up to 20 bytes for each)",
        ),
    ] = 100_000_000
    near_duplicates: Annotated[
        Literal["keep", "set-aside-across", "set-aside"],
        Field(
            description="images that look alike by their perceptual hash, which sees no colours. "
            "set-aside-across: only where one would train and the other test; set-aside: also all "
            "but the first by path of each class"
        ),
    ] = "keep"
    near_distance: NearDistance = 4
    min_images: Annotated[
        int, Field(ge=4, description="fewer usable images than this fail the run")
    ] = 4
    max_set_aside: Annotated[
        float,
        Field(ge=0, le=1, description="a larger share of files set aside than this fails the run"),
    ] = 0.5
    min_per_class: Annotated[
        int, Field(ge=0, description="fewer usable images in any class than this fail the run")
    ] = 0
    max_imbalance: Annotated[
        float,
        Field(
            ge=0,
            description="the largest class may be at most this many times the smallest; "
            "0 is no limit",
        ),
    ] = 0.0
    expected_classes: Annotated[
        tuple[str, ...],
        Field(
            description="names of all classes, as [cat, dog]; any others, or a missing one, fail "
            "the run"
        ),
    ] = ()

    @field_validator("expected_classes", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """Also `cat,dog`, which is what people write after --set."""
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str) -> str:
        if not re.fullmatch("#[0-9a-fA-F]{6}", value):
            raise ValueError(
                f"data.background={value} is not allowed: write #rrggbb, for instance #ffffff "
                f"for white or #000000 for black"
            )
        return value

    @field_validator("resolution", mode="before")
    @classmethod
    def _one_number_or_two(cls, value: Any) -> Any:
        sides = list(value) if isinstance(value, list | tuple) else [value]
        lowest = 0 if len(sides) == 1 else 1
        try:
            numbers = [int(str(side)) for side in sides]
        except ValueError:
            numbers = []
        if len(numbers) not in (1, 2) or not all(lowest <= side <= 4096 for side in numbers):
            raise ValueError(
                f"data.resolution={value} is not allowed: one number of pixels up to 4096 (0 lets "
                "the source choose), or [height, width]"
            )
        return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])

    @model_validator(mode="after")
    def _path_where_one_is_needed(self) -> DataParams:
        if self.source in NEEDS_PATH and not self.path.strip():
            raise ValueError(f"data.source={self.source} needs data.path, where its images are")
        return self

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width to train at, in pixels; None where the source or the images decide."""
        if isinstance(self.resolution, int):
            return (self.resolution, self.resolution) if self.resolution else None
        return self.resolution

    def anchored(self, repo: Path) -> DataParams:
        """The same with an absolute path: a relative one means a place below the repository."""
        if not self.path or "://" in self.path:
            return self
        path = os.path.abspath(repo / Path(self.path).expanduser())  # noqa: PTH100 - keeps links
        return self.model_copy(update={"path": path})
