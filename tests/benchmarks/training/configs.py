"""The configurations that are compared: what each sets beside the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ganpipe import presets
from ganpipe.params import Params
from ganpipe.params.files import override


@dataclass(frozen=True)
class Config:
    """A preset, or the defaults, and what is set over it (as `--set` would)."""

    preset: str = ""
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def params(self) -> Params:
        """All parameters."""
        base = presets.load(self.preset) if self.preset else Params()
        return override(base, [f"{key}={value}" for key, value in self.changes.items()])

    def but(self, **changes: object) -> Config:
        """The same with more of it set; `model__width` stands for model.width."""
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return replace(self, changes=self.changes | named)


# a schedule over the whole run needs train.kimg of about what the asked minutes show
PLAIN = Config().but(model__conditional="false")
DCGAN = PLAIN.but(model__architecture="dcgan", train__kimg=4000)
RESNET = PLAIN.but(
    model__architecture="resnet", model__width=32, model__max_width=128, train__kimg=2000
)
R3GAN_TINY = Config("r3gan-tiny").but(model__conditional="false", train__kimg=2000)

CONFIGS = {
    "dcgan": DCGAN,
    "dcgan-classes": DCGAN.but(model__conditional="true"),
    "resnet": RESNET,
    "resnet-classes": RESNET.but(model__conditional="true"),
    "r3gan-tiny": R3GAN_TINY,
    "r3gan-tiny-classes": R3GAN_TINY.but(model__conditional="true"),
}
