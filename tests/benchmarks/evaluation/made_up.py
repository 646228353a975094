"""Stand-ins where the real thing cannot be had: weights of Inception-v3, features of images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from ganpipe.evaluation.extractors.weights import Published
from ganpipe.files import sha256

SEED = 0


class _Unloaded(FeatureExtractorInceptionV3):  # type: ignore[misc]
    def load_state_dict(self, *_: object) -> None:
        """Keep the layers as they were made."""


def inception_weights(folder: Path) -> tuple[Path, Published]:
    """A file of weights that keep the size of activations through the layers, and its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    layers = _Unloaded("inception", ["2048"], feature_extractor_weights_path=nothing)
    state, draws = layers.state_dict(), torch.Generator().manual_seed(SEED)
    for name, value in state.items():
        if name.endswith("conv.weight"):
            value.normal_(std=(2 / value[0].numel()) ** 0.5, generator=draws)
        elif name.endswith(("bn.weight", "running_var")):
            value.uniform_(0.5, 1.5, generator=draws)
        elif name.endswith(("bn.bias", "running_mean")):
            value.normal_(std=0.1, generator=draws)
        elif name.startswith("fc."):  # torch-fidelity has it, features do not come from it
            value.zero_()
    path = folder / "inception.pth"
    torch.save(state, path)
    return path, Published(path.name, "", sha256(path), path.stat().st_size)


def features(seed: int, count: int, size: int, shift: float = 0.0) -> NDArray[np.float32]:
    """Not negative and correlated, as after a last ReLU: float32 [count, size]."""
    mix = np.random.default_rng(SEED).normal(size=(size, size)) / np.sqrt(size)
    noise = np.random.default_rng((SEED, seed)).normal(size=(count, size))
    return np.asarray(np.maximum(noise @ mix + shift, 0.0), np.float32)
