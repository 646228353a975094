"""The section `train`: how the networks learn."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ganpipe.params.section import Section

FINALS = ("lr_final", "beta2_final", "r1_final", "r2_final", "ema_kimg_final", "augment_final")


class TrainParams(Section):
    """How the networks are trained; time is counted in thousands of real images shown (kimg)."""

    kimg: Annotated[
        float, Field(gt=0, le=1e6, description="length of the run, in thousand images")
    ] = 150.0
    batch: Annotated[int, Field(ge=2, le=65536, description="images per optimizer step")] = 64
    seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of every random draw")] = 0
    start: Annotated[
        str,
        Field(
            min_length=1,
            description="scratch, or a checkpoint to go on from: models:/NAME/VERSION, "
            "models:/NAME@ALIAS, a run, a folder with state.json, or dvc:HASH.dir",
        ),
    ] = "scratch"
    start_counter: Annotated[
        Literal["continue", "restart"],
        Field(
            description="continue: kimg and schedules count the checkpoint's images (extend a "
            "run; set schedule_kimg to what it was, or the schedule stretches over the new kimg); "
            "restart: from 0 (fine-tune)"
        ),
    ] = "continue"
    loss: Annotated[
        Literal["rpgan", "ns", "lsgan", "hinge", "wgan", "logistic-l1", "fakeness", "one-sided"],
        Field(
            description="rpgan: relativistic pairing; ns: non-saturating logistic; lsgan: least "
            "squares; hinge; wgan: Wasserstein; logistic-l1, fakeness and one-sided are those of "
            "the presets article-*. All with the penalties r1, r2 and gp"
        ),
    ] = "rpgan"
    schedule: Annotated[
        Literal["constant", "linear", "cosine"],
        Field(
            description="how lr, beta2, r1, r2, ema_kimg and augment_strength get to their *_final"
        ),
    ] = "constant"
    schedule_kimg: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="thousand images until *_final is reached, and held; 0 is the whole run",
        ),
    ] = 0.0
    warmup_kimg: Annotated[
        float,
        Field(ge=0, le=1e6, description="thousand images over which lr rises from 0 to its value"),
    ] = 0.0
    lr: Annotated[float, Field(gt=0, le=1, description="Adam's learning rate, both networks")] = (
        1e-3
    )
    lr_final: Annotated[
        float | None, Field(ge=0, le=1, description="lr at the end of its schedule; null keeps it")
    ] = None
    beta1: Annotated[float, Field(ge=0, lt=1, description="Adam's beta1")] = 0.0
    beta2: Annotated[float, Field(ge=0, lt=1, description="Adam's beta2")] = 0.99
    beta2_final: Annotated[
        float | None,
        Field(ge=0, lt=1, description="beta2 at the end of its schedule; null keeps it"),
    ] = None
    eps: Annotated[
        float, Field(gt=0, le=1, description="Adam's epsilon, beside the root of its variance")
    ] = 1e-8
    r1: Annotated[
        float, Field(ge=0, le=1e6, description="weight of the gradient penalty on real images")
    ] = 0.1
    r1_final: Annotated[
        float | None,
        Field(ge=0, le=1e6, description="r1 at the end of its schedule; null keeps it"),
    ] = None
    r2: Annotated[
        float, Field(ge=0, le=1e6, description="weight of the gradient penalty on generated images")
    ] = 0.1
    r2_final: Annotated[
        float | None,
        Field(ge=0, le=1e6, description="r2 at the end of its schedule; null keeps it"),
    ] = None
    gp: Annotated[
        float,
        Field(
            ge=0,
            le=1e6,
            description="weight of WGAN-GP's penalty, which pulls gradient norms between real and "
            "generated images to 1 (10 in the paper)",
        ),
    ] = 0.0
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
    ema_kimg_final: Annotated[
        float | None,
        Field(ge=0, le=1e5, description="ema_kimg at the end of its schedule; null keeps it"),
    ] = None
    ema_rampup: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="the half-life is at most this share of the images shown so far; "
            "0 applies the full half-life from the start",
        ),
    ] = 0.05
    augment: Annotated[
        Literal["none", "diffaugment", "ada"],
        Field(
            description="what both networks' images go through before the discriminator, for few "
            "images. diffaugment: colour, shifts and holes; ada: also turns, scales and stronger "
            "colours, and a strength that adapts"
        ),
    ] = "none"
    augment_strength: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="chance that each augmentation is applied to an image; where ada adapts, "
            "what it starts with",
        ),
    ] = 0.0
    augment_final: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="augment_strength at the end of its schedule; null keeps it, and ada "
            "adapts",
        ),
    ] = None
    augment_limit: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="ada: the largest strength; above 0.8 augmentations may show in samples",
        ),
    ] = 0.8
    ada_target: Annotated[
        float,
        Field(
            gt=0.5,
            lt=1,
            description="ada: the share of real-fake pairs that the discriminator should rank "
            "rightly; above it the strength grows",
        ),
    ] = 0.75
    ada_kimg: Annotated[
        float,
        Field(gt=0, le=1e5, description="ada: thousand images in which the strength can grow by 1"),
    ] = 500.0
    precision: Annotated[
        Literal["auto", "bf16", "float32"],
        Field(
            description="how networks compute; auto is bf16 where the device does so in hardware"
        ),
    ] = "auto"
    channels_last: Annotated[
        bool,
        Field(description="keep the channels of a pixel side by side in memory: faster, same sums"),
    ] = True
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Field(description="auto is cuda where there is a GPU")
    ] = "auto"
    devices: Annotated[
        int,
        Field(
            ge=1,
            le=1024,
            description="GPUs on each machine, or processes on its CPU; each takes its share of "
            "the batch",
        ),
    ] = 1
    nodes: Annotated[int, Field(ge=1, le=1024, description="machines, started with torchrun")] = 1
    threads: Annotated[
        int,
        Field(
            ge=0,
            le=1024,
            description="CPU threads of each process; 0 shares out every core that may be used",
        ),
    ] = 0
    compile: Annotated[
        bool,
        Field(description="compile the generator with torch.compile (minutes at the start)"),
    ] = False
    tick_kimg: Annotated[
        float, Field(gt=0, description="thousand images between two points of the curves")
    ] = 4.0
    snapshot_kimg: Annotated[
        float,
        Field(gt=0, description="thousand images between two snapshots: sample grid, quick FID"),
    ] = 20.0
    snapshot_samples: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            description="generated images of a snapshot's quick FID, by which the best snapshot "
            "becomes the model; 0 measures nothing and takes the last one",
        ),
    ] = 1000
    stop_kimg: Annotated[
        float,
        Field(
            ge=0,
            description="stop when no snapshot was better for so many thousand images; 0 never",
        ),
    ] = 0.0
    state_kimg: Annotated[
        float, Field(gt=0, description="thousand images between two saves of the exact state")
    ] = 20.0
    state_url: Annotated[
        str,
        Field(
            description="where each save is copied, so that the run goes on elsewhere when its "
            "machine is lost: a URL (s3://bucket/folder; credentials from the environment) or an "
            "absolute path; empty keeps them on this machine. No byte of the outcome depends on it"
        ),
    ] = ""

    @field_validator("state_url")
    @classmethod
    def _state_url_is_the_same_place_for_all(cls, value: str) -> str:
        if re.search("//[^/]*@", value):
            raise ValueError(
                "train.state_url holds a user or password, which would be kept with every run: "
                "give credentials by the environment, for s3:// AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY"
            )
        if value and "://" not in value and not value.startswith("/"):
            raise ValueError(
                f"train.state_url={value} would lie in each run's own folder: write an absolute "
                "path, or a URL such as s3://bucket/folder"
            )
        return value

    @model_validator(mode="after")
    def _nothing_is_asked_for_in_vain(self) -> TrainParams:
        finals = [name for name in FINALS if getattr(self, name) is not None]
        if finals and self.schedule == "constant":
            raise ValueError(
                f"train.{finals[0]}={getattr(self, finals[0])} needs train.schedule=linear or "
                "cosine to be reached; with constant set it to null"
            )
        weakest = max(self.augment_strength, self.augment_final or 0.0)
        if self.augment == "diffaugment" and weakest == 0.0:
            raise ValueError(
                "train.augment=diffaugment does nothing with train.augment_strength=0: set it to "
                "the chance of each augmentation, 1 as published, or train.augment=none"
            )
        if self.stop_kimg > 0.0 and self.snapshot_samples == 0:
            raise ValueError(
                f"train.stop_kimg={self.stop_kimg:g} needs the quick FID of snapshots: set "
                "train.snapshot_samples to 1000, or train.stop_kimg=0"
            )
        return self
