"""Inception-v3 of 2015-12-05, the network that FID is defined with.

Heusel et al., "GANs trained by a two time-scale update rule" (NeurIPS 2017). The network is
torch-fidelity's, which gives TensorFlow's features; here it only gets its weights checked, its
BatchNorms folded and its memory laid out for speed.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganpipe.evaluation.extractors.batches import DTYPES, in_batches, named
from ganpipe.evaluation.extractors.fused import Fused
from ganpipe.evaluation.extractors.resize import pillow_bicubic, resized, tensorflow1_bilinear
from ganpipe.evaluation.extractors.weights import Published, load_weights

PUBLISHED = Published(
    name="weights-inception-2015-12-05-6726825d.pth",
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    bytes=95_628_359,
)
_SIZE = 299


class Inception:
    """2,048 features of the last pooling layer (after ReLU: 0 and above).

    `inception` resizes as TensorFlow 1 did, so that its distances compare with published FIDs;
    `inception-clean` resizes as clean-fid (Parmar, Zhang and Zhu, CVPR 2022).
    """

    features = 2048
    version = 1

    def __init__(
        self,
        name: str = "inception",
        precision: str = "float32",
        path: Path | None = None,
        published: Published = PUBLISHED,
        batch: int = 8,
    ) -> None:
        self.name = named(name, precision)
        self.weights_sha256 = published.sha256
        self.batch = batch
        self.dtype = DTYPES[precision]
        self.clean = name == "inception-clean"
        self.resize = (
            "bicubic of Pillow on float32, clipped to 0 ... 255, to 299x299, (x - 128) / 128"
            if self.clean
            else "bilinear of TensorFlow 1 (no half-pixel shift) to 299x299, (x - 128) / 128"
        )
        self.network = _network(load_weights(published, path), self.dtype)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return in_batches(self._features, images, self.batch, self.features, self.name)

    def _features(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.network(self._prepare(pixels).to(self.dtype))
        return found.flatten(1)

    def _prepare(self, pixels: Tensor) -> Tensor:
        """uint8 [n, H, W, C] to float32 [n, 3, 299, 299] in -1 ... 127/128, channels_last."""
        # exact in float32, and cheaper before an image of 28 pixels becomes one of 299
        scaled = (pixels.float() - 128.0) / 128.0
        if self.clean:
            large = resized(scaled, pillow_bicubic, _SIZE).clamp_(-1.0, 127.0 / 128.0)
        else:
            large = resized(scaled, tensorflow1_bilinear, _SIZE)
        return large.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _network(state: dict[str, Any], dtype: torch.dtype) -> nn.Module:
    """torch-fidelity's layers up to the last pooling, each BatchNorm folded in float64."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # it reads files itself, and any pickle: give it the bytes of tensors that were read safely
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    whole: nn.Module = FeatureExtractorInceptionV3(
        "inception", ["2048"], feature_extractor_weights_path=file
    )
    for owner in list(whole.modules()):
        for name, child in list(owner.named_children()):
            part: Any = child
            if type(part).__name__ == "BasicConv2d":
                rows, columns = part.conv.padding
                padding = ((rows, rows), (columns, columns))
                setattr(owner, name, Fused(part.conv, part.bn, math.inf, padding, dtype))
    # its forward runs its layers in the order of their names; the last is the classifier
    return nn.Sequential(*list(whole.children())[:-1]).eval()
