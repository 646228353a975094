"""The section `model`: the two networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ganpipe.params.section import Section


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
