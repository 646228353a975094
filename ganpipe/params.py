"""The one schema: params.yaml is its dump, the Prefect form its JSON schema, `--set` its keys."""

from __future__ import annotations

import difflib
import io
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ganpipe.errors import GanpipeError

PARAMS_FILE = "params.yaml"

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


class Section(BaseModel):
    """Base of every section: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # forms show the key that params.yaml and --set know, not `Lr` or `Test Fraction`
        field_title_generator=lambda name, _: name,
    )


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
    near_distance: Annotated[
        int,
        Field(
            ge=0,
            le=8,
            description="bits of 64 in which the perceptual hashes of near duplicates may differ",
        ),
    ] = 4
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


class ComputeParams(Section):
    """Where ingest and preprocess work; no byte of the outcome depends on it."""

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

    @model_validator(mode="after")
    def _dask_needs_an_address(self) -> ComputeParams:
        if self.engine == "dask" and not self.address:
            raise ValueError(
                "compute.engine=dask needs compute.address, the address of the Dask scheduler"
            )
        return self


class ModelParams(Section):
    """The two networks."""

    architecture: Annotated[
        Literal["dcgan", "resnet", "r3gan", "mlp"],
        Field(
            description="family of generator and discriminator. dcgan: strided convolutions; "
            "resnet: plain residual blocks; r3gan: grouped residual blocks; mlp: fully connected"
        ),
    ] = "dcgan"
    conditional: Annotated[
        bool, Field(description="learn to make images of a given class, where there are classes")
    ] = False
    latent: Annotated[
        int, Field(ge=1, le=4096, description="numbers in a latent vector (standard normal)")
    ] = 64
    width: Annotated[
        int,
        Field(
            ge=4, le=1024, description="channels at the full resolution; doubled at each halving"
        ),
    ] = 64
    max_width: Annotated[
        int, Field(ge=4, le=4096, description="largest number of channels at any resolution")
    ] = 256
    blocks: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            description="resnet and r3gan: residual blocks at each resolution; "
            "mlp: hidden layers, each twice as wide as the one before",
        ),
    ] = 1
    group: Annotated[
        int,
        Field(
            ge=1,
            le=4096,
            description="r3gan: channels in each group of the grouped convolutions, before "
            "expansion",
        ),
    ] = 8
    expansion: Annotated[
        int, Field(ge=1, le=8, description="r3gan: how much wider the middle of a block is")
    ] = 2


class TrainParams(Section):
    """How the networks are trained; time is counted in thousands of real images shown (kimg)."""

    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of every random draw")] = 0
    kimg: Annotated[
        float, Field(gt=0, le=1e6, description="length of the run, in thousand images")
    ] = 150.0
    batch: Annotated[int, Field(ge=2, le=65536, description="images per optimizer step")] = 64
    loss: Annotated[
        Literal["rpgan", "ns", "lsgan", "hinge", "wgan"],
        Field(
            description="rpgan: relativistic pairing; ns: non-saturating logistic; lsgan: least "
            "squares; hinge; wgan: Wasserstein. All with the penalties r1 and r2"
        ),
    ] = "rpgan"
    lr: Annotated[float, Field(gt=0, le=1, description="Adam's learning rate, both networks")] = (
        1e-3
    )
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam's beta1")] = 0.0
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam's beta2")] = 0.99
    r1: Annotated[
        float, Field(ge=0, le=1e6, description="weight of the gradient penalty on real images")
    ] = 0.1
    r2: Annotated[
        float, Field(ge=0, le=1e6, description="weight of the gradient penalty on generated images")
    ] = 0.1
    penalty_every: Annotated[
        int,
        Field(
            ge=1,
            le=64,
            description="steps between penalties; the weight is multiplied by it, "
            "so the mean strength stays the same",
        ),
    ] = 1
    ema_kimg: Annotated[
        float,
        Field(
            ge=0,
            le=1e5,
            description="half-life of the generator's moving average, in thousand images",
        ),
    ] = 10.0
    ema_rampup: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="the half-life is at most this share of the images shown so far; "
            "0 applies the full half-life from the start",
        ),
    ] = 0.05
    precision: Annotated[
        Literal["auto", "bf16", "float32"],
        Field(description="auto is bf16 where the device computes it in hardware"),
    ] = "auto"
    channels_last: Annotated[
        bool,
        Field(description="keep the channels of a pixel side by side in memory: faster, same sums"),
    ] = True
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="auto is cuda where there is a GPU")
    ] = "auto"
    threads: Annotated[
        int, Field(ge=0, le=1024, description="CPU threads; 0 is every core the process may use")
    ] = 0
    tick_kimg: Annotated[
        float, Field(gt=0, description="thousand images between two points of the curves")
    ] = 4.0
    snapshot_kimg: Annotated[
        float, Field(gt=0, description="thousand images between two sample grids")
    ] = 20.0
    state_kimg: Annotated[
        float, Field(gt=0, description="thousand images between two saves of the exact state")
    ] = 20.0


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


class Params(Section):
    """All parameters of a run, one section for each stage or step."""

    data: DataParams = DataParams()
    model: ModelParams = ModelParams()
    train: TrainParams = TrainParams()
    evaluate: EvaluateParams = EvaluateParams()
    # BaseModel already has an attribute `register` (from ABCMeta), hence the alias
    registration: Annotated[RegisterParams, Field(alias="register")] = RegisterParams()
    compute: ComputeParams = ComputeParams()

    def anchored(self, repo: Path) -> Params:
        """The same with an absolute data.path."""
        return self.model_copy(update={"data": self.data.anchored(repo)})

    def dump(self) -> dict[str, Any]:
        """The parameters as params.yaml spells them."""
        return self.model_dump(mode="json", by_alias=True)


def validate(values: Any, source: str = PARAMS_FILE) -> Params:
    """Check a nested mapping of sections.

    Raises GanpipeError that names every bad key, its value and what is allowed.
    """
    if not isinstance(values, dict):
        raise GanpipeError(f"{source} must hold sections like `data:`, not {values!r}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise GanpipeError(
            "\n".join(f"{source}: {_explain(dict(problem))}" for problem in error.errors())
        ) from None


def _explain(problem: dict[str, Any]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        close = difflib.get_close_matches(location[-1], known, n=1)
        guess = f"did you mean {close[0]}? " if close else ""
        return f"{key} is not a parameter: {guess}known here: {', '.join(known)}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message
    return f"{key}={problem['input']} is not allowed: {message[0].lower()}{message[1:]}"


def _known_keys(location: list[str]) -> list[str]:
    model: type[BaseModel] = Params
    for part in location:
        by_alias = {field.alias or name: field for name, field in model.model_fields.items()}
        annotation = by_alias[part].annotation
        assert isinstance(annotation, type)
        assert issubclass(annotation, BaseModel)
        model = annotation
    return [field.alias or name for name, field in model.model_fields.items()]


def load(path: Path | str = PARAMS_FILE) -> Params:
    """Read params.yaml. Raises GanpipeError when it is missing, no YAML, or not valid."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GanpipeError(
            f"{path} is missing here ({Path.cwd()}): run ganpipe in its repository, "
            f"or write the defaults with `ganpipe init`"
        ) from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GanpipeError(f"{path} is no YAML: {error}") from None
    return validate({} if values is None else values, source=str(path))


def override(params: Params, assignments: list[str]) -> Params:
    """Apply `section.key=value` assignments."""
    values = params.dump()
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        section, dot, name = key.partition(".")
        if not equals or not dot or not name:
            raise GanpipeError(
                f"--set {assignment!r}: write section.key=value, for instance train.kimg=300"
            )
        if section not in values:
            raise GanpipeError(
                f"--set {assignment}: {section} is not a section; known: {', '.join(values)}"
            )
        values[section][name] = _parsed(text)
    return validate(values, source="--set")


def _parsed(text: str) -> Any:
    """A list where the text is written as one, else the text itself, which pydantic reads."""
    if not text.startswith("["):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def write(params: Params, path: Path | str) -> None:
    """Write the parameters, each with its description as a comment."""
    Path(path).write_text(to_yaml(params), encoding="utf-8")


def to_yaml(params: Params) -> str:
    """The parameters as commented YAML: a pure function of their values."""
    out = io.StringIO()
    out.write("# ganpipe's parameters: sections named after the stages that read them.\n")
    for name, field in Params.model_fields.items():
        section: Section = getattr(params, name)
        out.write(f"\n# {(type(section).__doc__ or '').strip().splitlines()[0]}\n")
        out.write(f"{field.alias or name}:\n")
        for key, value in section.model_dump(mode="json").items():
            description = type(section).model_fields[key].description
            # a list on one line, as --set spells it; None is block style for the key around it
            style = None if isinstance(value, list) else False
            dumped = yaml.safe_dump(
                {key: value}, allow_unicode=True, width=10_000, default_flow_style=style
            )
            line = dumped.strip()
            out.write(f"  # {description}\n  {line}\n")
    return out.getvalue()
