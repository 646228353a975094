"""The section `model`: the two networks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from ganpipe.params.section import Section


class ModelParams(Section):
    """The two networks."""

    architecture: Annotated[
        Literal[
            "dcgan",
            "resnet",
            "r3gan",
            "mlp",
            "article-dense-conv",
            "article-mnist-bn",
            "article-celeba",
            "article-mlp",
        ],
        Field(
            description="family of generator and discriminator. dcgan: strided convolutions; "
            "resnet: plain residual blocks; r3gan: grouped residual blocks; mlp: fully connected; "
            "article-*: those of published tutorials, whose layers have sizes of their own, "
            "without classes"
        ),
    ] = "dcgan"
    conditional: Annotated[
        bool | Literal["auto"],
        # one list of three, where forms would ask for the type first
        WithJsonSchema({"enum": ["auto", True, False]}),
        Field(
            description="learn to make images of a given class; auto: where the images have "
            "classes and the architecture knows them"
        ),
    ] = "auto"
    latent: Annotated[
        int, Field(ge=1, le=4096, description="numbers in a latent vector (standard normal)")
    ] = 64
    width: Annotated[
        int,
        Field(
            ge=4, le=4096, description="channels at the full resolution; doubled at each halving"
        ),
    ] = 64
    max_width: Annotated[
        int, Field(ge=4, le=4096, description="largest number of channels at any resolution")
    ] = 256
    blocks: Annotated[
        int,
        Field(
            ge=0,
            le=16,
            description="dcgan: 3x3 convolutions at the lowest resolution; resnet and r3gan: "
            "residual blocks at each resolution; mlp: hidden layers, each twice as wide as the "
            "one before",
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

    @field_validator("conditional", mode="before")
    @classmethod
    def _three_choices(cls, value: Any) -> Any:
        if str(value).lower() not in ("true", "false", "auto"):
            raise ValueError(f"model.conditional={value} is not allowed: auto, true or false")
        return value

    @model_validator(mode="after")
    def _classes_where_the_network_knows_them(self) -> ModelParams:
        if self.conditional is True and self.architecture.startswith("article-"):
            raise ValueError(
                f"model.conditional=true is not allowed with model.architecture="
                f"{self.architecture}, which was published without classes: set "
                f"model.conditional=false, or model.architecture to dcgan, resnet, r3gan or mlp"
            )
        return self
