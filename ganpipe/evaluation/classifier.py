"""A small classifier of a data set's own classes: a feature network for grey or odd domains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing, sha256, write_json

FEATURES = 128
SHOWN = 80_000  # images shown in training: 91 % right on Fashion-MNIST
WEIGHTS, DESCRIPTION = "classifier.safetensors", "classifier.json"

_FORMAT = 1
_BATCH, _RATE, _DECAY = 128, 3e-3, 0.05
_BLOCK = 256
_WIDTHS = (32, 64, 128)
_SIDE = 32  # of the first convolution's output, at most

Read = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Images uint8 [n, H, W, C] by their numbers int64 [n]: `Dataset.batch`, `array.__getitem__`."""


@dataclass(frozen=True)
class Classifier:
    """A trained network in evaluation mode, and what its JSON file says of it."""

    network: nn.Sequential
    height: int
    width: int
    channels: int
    classes: list[str]
    record: dict[str, Any] = field(default_factory=dict)
    """How it was trained, in plain values."""

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The last hidden layer, after its ReLU: float32 [n, FEATURES]."""
        return self._run(self.network[:-1], images)

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unnormalised log-probabilities of the classes: float32 [n, classes]."""
        return self._run(self.network, images)

    @torch.inference_mode()
    def _run(self, network: nn.Module, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if images.shape[1:] != (self.height, self.width, self.channels):
            raise GanpipeError(
                f"the classifier knows images of shape "
                f"{(self.height, self.width, self.channels)} (height, width, channels), these "
                f"have {images.shape[1:]}: give images of its shape, or use another extractor"
            )
        starts = range(0, max(1, len(images)), _BLOCK)
        blocks = (_scaled(images[first : first + _BLOCK]) for first in starts)
        return np.concatenate([network(block).numpy() for block in blocks])


def build_network(height: int, width: int, channels: int, classes: int) -> nn.Sequential:
    """Images float [n, C, H, W] to logits float [n, classes]; all but the last layer: features.

    The first convolution strides over images with sides above 32 with a kernel that misses no
    pixel, so that the cost hardly depends on the size and fine detail still counts.
    """
    strides = (ceil(height / _SIDE), ceil(width / _SIDE))
    kernels = (2 * strides[0] + 1, 2 * strides[1] + 1)
    sides = [ceil(side / stride) for side, stride in zip((height, width), strides, strict=True)]
    layers: list[nn.Module] = []
    before = channels
    for number, after in enumerate(_WIDTHS):
        if number == 0:
            layers.append(nn.Conv2d(before, after, kernels, strides, strides, bias=False))
        else:
            layers.append(nn.Conv2d(before, after, 3, padding=1, bias=False))
        layers += [nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        before, sides = after, [ceil(side / 2) for side in sides]
    # without the last normalisation half of the features are 0 for every image
    layers += [nn.Flatten(), nn.Linear(before * prod(sides), FEATURES, bias=False)]
    layers += [nn.BatchNorm1d(FEATURES), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(FEATURES, classes))


def train_classifier(
    read: Read,
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    seed: int = 0,
    shown: int = SHOWN,
    advance: Callable[[int], None] | None = None,
) -> Classifier:
    """Train on the images that `read` gives, number k of which has class `labels[k]`.

    AdamW on the cross-entropy, cosine to zero over `shown` images, float32. The same images,
    seed and threads give the same weights, byte for byte. Raises GanpipeError for labels that
    name no class, fewer than two classes among them, or sides outside 8 ... 256 pixels.
    """
    check_labels(labels, classes)
    height, width, channels = read(np.zeros(1, np.int64)).shape[1:]
    if min(height, width) < 8 or max(height, width) > 256:
        raise GanpipeError(
            f"the classifier learns from sides of 8 ... 256 pixels, not {height}x{width}: set "
            f"data.resolution, or use another extractor"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(height, width, channels, len(classes))
    network = network.to(memory_format=torch.channels_last)
    _fit(network, read, labels, seed, shown, advance)
    record = {"images": len(labels), "shown": shown, "seed": seed}
    return Classifier(network.eval(), height, width, channels, list(classes), record)


def _fit(
    network: nn.Sequential,
    read: Read,
    labels: NDArray[np.int64],
    seed: int,
    shown: int,
    advance: Callable[[int], None] | None,
) -> None:
    batch = min(_BATCH, len(labels))
    steps = max(1, shown // batch)
    adam = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY, fused=True)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    network.train()
    for step in range(steps):
        numbers = randomness.draw_order(seed, "classifier", step * batch, batch, len(labels))
        loss = cross_entropy(network(_scaled(read(numbers))), torch.from_numpy(labels[numbers]))
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        falling.step()
        if advance:
            advance(batch)


def _scaled(images: NDArray[np.uint8]) -> Tensor:
    """Float [n, C, H, W] in [-1, 1], channels_last."""
    pixels = torch.from_numpy(np.ascontiguousarray(images))
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)


def check_labels(labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Raise GanpipeError unless the labels name classes, and at least two different ones."""
    found = np.unique(labels)
    if len(found) < 2:
        raise GanpipeError(
            f"a classifier needs images of at least 2 classes, these have {len(found)}: give "
            f"images with classes (data.labels), or use another extractor"
        )
    if found[0] < 0 or found[-1] >= len(classes):
        wrong = found[0] if found[0] < 0 else found[-1]
        raise GanpipeError(f"label {wrong} names none of the {len(classes)} classes (0 is first)")


def accuracy_by_class(
    classifier: Classifier,
    read: Read,
    labels: NDArray[np.int64],
    advance: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Share of each class's images told rightly: float64 [classes], NaN for a class without."""
    right = np.zeros(len(classifier.classes), np.int64)
    for first in range(0, len(labels), _BLOCK):
        numbers = np.arange(first, min(first + _BLOCK, len(labels)))
        told = classifier.logits(read(numbers)).argmax(axis=1)
        wanted = labels[numbers]
        right += np.bincount(wanted[told == wanted], minlength=len(right))
        if advance:
            advance(len(numbers))
    there = np.bincount(labels, minlength=len(right)).astype(np.float64)
    shares = np.full(len(right), np.nan)
    np.divide(right, there, out=shares, where=there > 0)
    return shares


def save_classifier(folder: Path, classifier: Classifier) -> str:
    """Write classifier.safetensors and classifier.json into a folder that exists.

    Returns the sha256 of the weights, which is the classifier's identity.
    """
    tensors = {name: t.contiguous() for name, t in classifier.network.state_dict().items()}
    with replacing(folder / WEIGHTS) as beside:
        save_file(tensors, beside)
    digest = sha256(folder / WEIGHTS)
    description = {
        "format": _FORMAT,
        "height": classifier.height,
        "width": classifier.width,
        "channels": classifier.channels,
        "classes": classifier.classes,
        "features": FEATURES,
        "weights_sha256": digest,
        "record": classifier.record,
    }
    write_json(folder / DESCRIPTION, description)
    return digest


def load_classifier(folder: Path) -> tuple[Classifier, str]:
    """What save_classifier wrote, and the sha256 of its weights.

    Raises GanpipeError for files that are missing, damaged or of another format.
    """
    remedy = "run the stage reference again"
    try:
        about: dict[str, Any] = read_json(folder / DESCRIPTION)
        digest = sha256(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise GanpipeError(f"{folder} holds no classifier ({error.filename}): {remedy}") from None
    except ValueError as error:
        raise GanpipeError(f"{folder / DESCRIPTION} is damaged ({error}): {remedy}") from None
    if about.get("format") != _FORMAT:
        raise GanpipeError(
            f"{folder / DESCRIPTION} has format {about.get('format')!r}, this ganpipe reads "
            f"{_FORMAT}: {remedy}"
        )
    if digest != about["weights_sha256"]:
        raise GanpipeError(
            f"{folder / WEIGHTS} is damaged: its sha256 is {digest}, {DESCRIPTION} says "
            f"{about['weights_sha256']}: {remedy}"
        )
    shape = (about["height"], about["width"], about["channels"])
    network = build_network(*shape, len(about["classes"]))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (SafetensorError, RuntimeError) as error:
        raise GanpipeError(
            f"{folder / WEIGHTS} does not fit its JSON ({error}): {remedy}"
        ) from None
    network = network.eval().to(memory_format=torch.channels_last)
    return Classifier(network, *shape, about["classes"], about["record"]), digest
