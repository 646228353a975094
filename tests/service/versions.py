"""Model versions to serve: small generators in a real registry, differing by their seed."""

from __future__ import annotations

from pathlib import Path

import torch

from ganpipe import packaging, tracking
from ganpipe.files import sha256
from ganpipe.networks import Generator, NetworkConfig, build_generator, load_generator
from ganpipe.networks import save_generator as write_generator
from ganpipe.params import Params

NAME = "painter"
CLASSES = ["cat", "dog", "<b>it's</b>"]


def small(pixels: int = 8) -> NetworkConfig:
    """A network that is quick to make images of a few pixels with."""
    return NetworkConfig("dcgan", 16, 4, 16, pixels, pixels, 3, classes=len(CLASSES))


def save(folder: Path, seed: int, config: NetworkConfig | None = None) -> Path:
    """A generator with random weights in `folder`/model, beside what a package needs."""
    config = config or small()
    names = CLASSES[: config.classes]
    torch.manual_seed(seed)
    network = build_generator(config)
    with torch.no_grad():  # strong enough that images differ to the eye
        for weights in network.parameters():
            weights.mul_(3)
    for name in ("model", "report"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "report/metrics.json").write_text("{}")
    counts = [5] * len(names)
    write_generator(folder / "model", Generator(network, config, names, 1000, counts))
    return folder / "model"


class Versions:
    """Versions of one model in the MLflow at `uri`."""

    def __init__(self, folder: Path, uri: str = "") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.uri = uri or f"sqlite:///{folder / 'mlflow.db'}"
        self.generators: dict[str, Generator] = {}

    def register(self, seed: int, config: NetworkConfig | None = None) -> str:
        """A new version; returns its number."""
        workspace = self.folder / f"workspace-{seed}"
        model = save(workspace, seed, config)
        run = tracking.start_run(self.uri, self.state, "train", Params(), {})
        tags = {"ganpipe.generator_sha256": sha256(model / "generator.safetensors")}
        client = tracking.connect(self.uri)
        version = packaging.create_version(client, run, workspace, NAME, tags, "")
        self.generators[version] = load_generator(model)
        return version

    def move(self, version: str, alias: str = "champion") -> None:
        tracking.connect(self.uri).set_registered_model_alias(NAME, alias, version)
