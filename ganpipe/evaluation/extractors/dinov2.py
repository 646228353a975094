"""DINOv2, the features that reviews of generative metrics recommend in place of Inception's.

Oquab et al., "DINOv2: learning robust visual features without supervision" (TMLR 2024); Stein et
al., "Exposing flaws of generative model evaluation metrics" (NeurIPS 2023). The network is
timm's, the weights are Meta's own files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganpipe.evaluation.extractors.batches import DTYPES, in_batches, named
from ganpipe.evaluation.extractors.resize import pillow_bicubic, resized
from ganpipe.evaluation.extractors.weights import Published, load_weights

_URL = "https://dl.fbaipublicfiles.com/dinov2"
PUBLISHED = {
    "dinov2-b14": Published(
        name="dinov2_vitb14_pretrain.pth",
        url=f"{_URL}/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        sha256="0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        bytes=346_378_731,
    ),
    "dinov2-l14": Published(
        name="dinov2_vitl14_pretrain.pth",
        url=f"{_URL}/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        sha256="d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        bytes=1_217_586_395,
    ),
}
_ARCHITECTURES = {
    "dinov2-b14": ("vit_base_patch14_dinov2", 768),
    "dinov2-l14": ("vit_large_patch14_dinov2", 1024),
}
_SIZE, _PATCHES = 224, 16  # 16 x 16 patches of 14 pixels
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for values in 0 ... 1


class DinoV2:
    """The class token after the last normalisation: 768 features (B/14) or 1,024 (L/14)."""

    version = 1
    resize = (
        "bicubic of Pillow on float32, clipped to 0 ... 255, to 224x224, mean and deviation of "
        "ImageNet"
    )

    def __init__(
        self,
        name: str = "dinov2-b14",
        precision: str = "float32",
        path: Path | None = None,
        published: Published | None = None,
        batch: int = 4,
    ) -> None:
        published = published or PUBLISHED[name]
        self.name = named(name, precision)
        self.weights_sha256 = published.sha256
        self.batch = batch
        self.dtype = DTYPES[precision]
        architecture, self.features = _ARCHITECTURES[name]
        self.network = _network(architecture, load_weights(published, path)).to(self.dtype)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return in_batches(self._features, images, self.batch, self.features, self.name)

    def _features(self, pixels: Tensor) -> Tensor:
        found: Tensor = self.network(self._prepare(pixels).to(self.dtype))
        return found

    def _prepare(self, pixels: Tensor) -> Tensor:
        """uint8 [n, H, W, C] to float32 [n, 3, 224, 224], normalised."""
        large = resized(pixels.float() / 255.0, pillow_bicubic, _SIZE).clamp_(0.0, 1.0)
        mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
        return (large - mean) / deviation


def _network(architecture: str, state: dict[str, Any]) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(architecture, img_size=_SIZE, num_classes=0)
    kept = {key: value for key, value in state.items() if key != "mask_token"}  # for training only
    network.load_state_dict(kept | {"pos_embed": position_embedding(state["pos_embed"])})
    return network.eval().requires_grad_(requires_grad=False)


def position_embedding(trained: Tensor) -> Tensor:
    """Meta's resampling of [1, 1 + 37 * 37, d] to the 16 x 16 patches of 224 pixels.

    Bicubic without antialias, at a scale of 16.1 / 37: the published features hold that 0.1,
    which timm's own resampling does not know.
    """
    token, patches = trained[:, :1], trained[:, 1:]
    side, width = round(patches.shape[1] ** 0.5), patches.shape[2]
    scale = (_PATCHES + 0.1) / side
    plane = patches.reshape(1, side, side, width).permute(0, 3, 1, 2)
    small = interpolate(plane, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([token, small.permute(0, 2, 3, 1).reshape(1, -1, width)], dim=1)
