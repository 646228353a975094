"""The one schema: params.yaml is its dump, the Prefect form its JSON schema, `--set` its keys."""

from __future__ import annotations

import difflib
import io
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ganpipe.errors import GanpipeError

PARAMS_FILE = "params.yaml"

SourceName = Literal["digits", "fashion-mnist", "folder"]


class Section(BaseModel):
    """Base of every section: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        # forms show the key that params.yaml and --set know, not `Lr` or `Test Fraction`
        field_title_generator=lambda name, _: name,
    )


class DataParams(Section):
    """Which images to learn from, and the shape they are brought to."""

    source: Annotated[
        SourceName,
        Field(description="digits and fashion-mnist are built in; folder reads data.path"),
    ] = "digits"
    path: Annotated[
        str,
        Field(
            description="folder: the folder of images, its sub-folders are classes; "
            "fashion-mnist: a folder with the four .gz files (empty: look in the usual places)"
        ),
    ] = ""
    resolution: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="height and width in pixels: 4, 7 or 8 times a power of two; "
            "0 lets the source choose (digits 16, fashion-mnist 28) or keeps the size of the "
            "images, which must then all be of one such size",
        ),
    ] = 0
    channels: Annotated[
        Literal["auto", "grey", "rgb"],
        Field(description="auto is grey when every image is grey, else rgb"),
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

    @model_validator(mode="after")
    def _folder_needs_a_path(self) -> DataParams:
        if self.source == "folder" and not self.path:
            raise ValueError("data.source=folder needs data.path, the folder of images")
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
        Literal["rpgan", "ns"],
        Field(description="rpgan: relativistic pairing; ns: non-saturating logistic"),
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
        values[section][name] = text
    return validate(values, source="--set")


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
            line = yaml.safe_dump({key: value}, allow_unicode=True, width=10_000).strip()
            out.write(f"  # {description}\n  {line}\n")
    return out.getvalue()
