"""A trained generator on disk and in use: generator.safetensors + generator.json, no pickle."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ganpipe import randomness
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing, write_json
from ganpipe.images import to_uint8
from ganpipe.networks.builder import ARCHITECTURES, NetworkConfig, build_generator

WEIGHTS, DESCRIPTION = "generator.safetensors", "generator.json"
FORMAT = 1
GRID_PURPOSE = "grid"  # of the latents that people look at in every snapshot
OPTIONS = ("width", "max_width", "classes", "blocks", "group", "expansion")


@dataclass(frozen=True)
class Generator:
    """A network ready to sample from, with what its JSON file says of it."""

    network: nn.Module
    config: NetworkConfig
    classes: list[str]
    """Names of the classes it can be asked for; empty when it is unconditional."""
    images: int
    """Training images shown to it."""
    class_counts: list[int] = field(default_factory=list)
    """Training images of each class: the shares in which classes are drawn."""


def save_generator(folder: Path, generator: Generator) -> None:
    """Write generator.safetensors and generator.json into a folder that exists."""
    network, config = generator.network, generator.config
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with replacing(folder / WEIGHTS) as beside:
        save_file(tensors, beside)
    shape = asdict(config)
    options = {key: shape[key] for key in OPTIONS}
    description = {
        "format": FORMAT,
        "architecture": config.architecture,
        "latent": config.latent,
        "options": options,
        "height": config.image_height,
        "width": config.image_width,
        "channels": config.image_channels,
        "classes": generator.classes,
        "class_counts": generator.class_counts,
        "value_range": [-1, 1],
        "images": generator.images,
    }
    write_json(folder / DESCRIPTION, description)


def read_description(folder: Path) -> dict[str, Any]:
    """generator.json of a folder. Raises GanpipeError when it is missing or of another format."""
    path = folder / DESCRIPTION
    try:
        description: dict[str, Any] = read_json(path)
    except FileNotFoundError:
        raise GanpipeError(
            f"{folder} holds no {DESCRIPTION}: name the folder of a trained model, "
            f"such as model/, or a registered version, such as models:/ganpipe@champion"
        ) from None
    except ValueError as error:
        raise GanpipeError(f"{path} is damaged: {error}") from None
    if description.get("format") != FORMAT or description["architecture"] not in ARCHITECTURES:
        raise GanpipeError(
            f"{path} has format {description.get('format')!r} and architecture "
            f"{description.get('architecture')!r}; this ganpipe reads format {FORMAT} with "
            f"{', '.join(ARCHITECTURES)}"
        )
    return description


def load_generator(folder: Path | str, device: str = "cpu") -> Generator:
    """Load a generator in evaluation mode. Raises GanpipeError for missing or damaged files."""
    folder = Path(folder)
    description = read_description(folder)
    config = NetworkConfig(
        architecture=description["architecture"],
        latent=description["latent"],
        **description["options"],
        image_height=description["height"],
        image_width=description["width"],
        image_channels=description["channels"],
    )
    network = build_generator(config)
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except FileNotFoundError:
        raise GanpipeError(f"{folder} has a {DESCRIPTION} but no {WEIGHTS}") from None
    except (SafetensorError, RuntimeError) as error:  # damaged, or of another architecture
        raise GanpipeError(f"{folder / WEIGHTS} cannot be read: {error}") from error
    network.eval().requires_grad_(requires_grad=False)
    network.to(device).to(memory_format=torch.channels_last)
    return Generator(
        network,
        config,
        description["classes"],
        description["images"],
        description.get("class_counts", []),
    )


def sample(
    generator: Generator,
    n: int,
    seed: int,
    truncation: float = 1.0,
    purpose: str = "generate",
    first: int = 0,
    batch: int = 64,
    label: int | None = None,
) -> NDArray[np.uint8]:
    """Images uint8 [n, H, W, C], numbers `first` to `first + n - 1` of a seed.

    Each latent is a function of (seed, purpose, image number) alone, and the network always
    sees batches of `batch` aligned to the image number, so that any split of a request gives
    the same images. With classes all images are of class number `label`, or each of one drawn
    by the classes' shares of the training images. `truncation` t < 1 draws from a normal
    truncated at 2t (Brock et al., "Large scale GAN training", ICLR 2019, section 3.1, up to the
    scale of the threshold).
    """
    device = next(generator.network.parameters()).device
    parts = []
    start, stop = first // batch, -(-(first + n) // batch)
    for block in range(start, stop):
        latents = latent_vectors(generator.config, seed, purpose, block * batch, batch, truncation)
        labels = drawn_labels(generator, seed, purpose, block * batch, batch, label)
        with torch.inference_mode():
            images = generator.network(
                torch.from_numpy(latents).to(device),
                None if labels is None else torch.from_numpy(labels).to(device),
            )
        parts.append(to_uint8(images.float().permute(0, 2, 3, 1).cpu().numpy()))
    offset = first - start * batch
    return np.concatenate(parts)[offset : offset + n]


def drawn_labels(
    generator: Generator,
    seed: int,
    purpose: str,
    first: int,
    count: int,
    label: int | None = None,
) -> NDArray[np.int64] | None:
    """The classes of `sample`'s images number `first` onwards, int64 [count]; None without any."""
    if not generator.config.classes:
        return None
    if label is not None:
        return np.full(count, label, dtype=np.int64)
    if purpose == GRID_PURPOSE:  # every class, side by side
        return np.arange(first, first + count) % generator.config.classes
    return randomness.choices(seed, f"{purpose}/labels", first, count, generator.class_counts)


def latent_vectors(
    config: NetworkConfig, seed: int, purpose: str, first: int, count: int, truncation: float = 1.0
) -> NDArray[np.float32]:
    """Latents float32 [count, latent] of images number `first` onwards."""
    latents = randomness.normals(seed, purpose, first, count, config.latent)
    if truncation >= 1.0:
        return latents
    # through the distribution function: monotonic, and needs no redrawing as rejection would
    limit = 2.0 * truncation
    values = torch.from_numpy(latents).double()
    inside = math.erf(limit / math.sqrt(2.0))
    squeezed = torch.erf(values / math.sqrt(2.0)) * inside
    truncated: NDArray[np.float32] = (
        (torch.erfinv(squeezed) * math.sqrt(2.0)).float().numpy().astype(np.float32)
    )
    return truncated
