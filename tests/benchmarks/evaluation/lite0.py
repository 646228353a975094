"""EfficientNet-Lite0 as ganpipe runs it, and as its package ships it: eager, float32, NCHW."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from ganpipe.evaluation.extractors.lite0 import Lite0, weights_path
from tests.benchmarks.figures import Figure, interleaved, rate, ratio
from tests.benchmarks.training.place import Place

FLOOR, AGREE = 4.0, 1e-4
OURS = 4  # ganpipe's own batch
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


def measure(place: Place) -> list[Figure]:
    """Rates in turns: ganpipe's modes, the plain network at ganpipe's batch and at its best one."""
    images = place.fashion().batch(np.arange(place.size(256, 8)))
    plain = _plain()
    best = _best(plain, images[: place.size(128, 8)])
    modes = {f"ganpipe {precision}": Lite0(precision) for precision in ("float32", "bf16")}
    works: dict[str, Callable[[], object]] = {
        **{name: partial(extractor, images) for name, extractor in modes.items()},
        f"plain, batch {OURS}": lambda: plain(images, OURS),
        f"plain, best batch ({best})": lambda: plain(images, best),
    }
    interleaved(1, works)
    seconds = interleaved(place.size(8, 1), works)
    figures = [rate(name, len(images), taken) for name, taken in seconds.items()]
    for mode in modes:
        floor = FLOOR if mode.endswith("bf16") else None
        for other in list(seconds)[2:]:
            figures.append(ratio(f"{mode} v {other}", seconds[other], seconds[mode], floor))
    expected = plain(images[:64], OURS)
    largest = np.abs(modes["ganpipe float32"](images[:64]) - expected).max() / expected.max()
    figures.append(
        Figure("float32 v plain, of the largest feature", float(largest), "", None, AGREE)
    )
    return figures


Plain = Callable[[NDArray[np.uint8], int], NDArray[np.float32]]


def _plain() -> Plain:
    """The network of the package behind torch's own resize: features float32 [n, 1280]."""
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(weights_path(), map_location="cpu", weights_only=True))
    network.eval()

    @torch.inference_mode()
    def extract(images: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
        found = []
        for part in torch.split(torch.from_numpy(images), batch):
            pixels = part.permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1)
            large = interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
            found.append(network.extract_features((large - 127) / 128).mean(dim=(2, 3)))
        features: NDArray[np.float32] = torch.cat(found).numpy()
        return features

    return extract


def _best(plain: Plain, images: NDArray[np.uint8]) -> int:
    """The batch that the plain network is fastest with."""
    batches = [batch for batch in BATCHES if batch <= len(images)]
    plain(images[:OURS], OURS)
    seconds = interleaved(2, {str(batch): partial(plain, images, batch) for batch in batches})
    return min(batches, key=lambda batch: min(seconds[str(batch)]))
