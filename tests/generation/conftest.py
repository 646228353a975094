"""Small generators, and requests for their images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ganpipe.generation import Written, generate
from ganpipe.networks import Generator, NetworkConfig, build_generator, save_generator
from ganpipe.params.generate import generate_params
from tests import s3

CLASSES = ["cat", "dog", "7"]
Make = Callable[..., Written]


def make_model(folder: Path, classes: list[str]) -> Path:
    """A generator of 8x8 grey images, not trained, but with some variety."""
    folder.mkdir(parents=True)
    config = NetworkConfig("dcgan", 16, 4, 16, 8, 8, 1, classes=len(classes))
    torch.manual_seed(0)
    network = build_generator(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(3.0)
    save_generator(folder, Generator(network, config, classes, 1000, [5, 3, 2][: len(classes)]))
    return folder


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator without classes."""
    return make_model(tmp_path_factory.mktemp("plain") / "model", [])


@pytest.fixture(scope="session")
def classy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator with classes."""
    return make_model(tmp_path_factory.mktemp("classy") / "model", CLASSES)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Images of a model in a destination, as `ganpipe generate` makes them."""

    def work(model: Path, out: Path | str, *, rows: int = 0, **values: Any) -> Written:
        asked = {"model": str(model), "destination": str(out), "threads": 1} | values
        return generate(generate_params(**asked), tmp_path, rows=rows)

    return work


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def bucket(s3_client: Any) -> Iterator[Any]:
    """An S3 client; `images` is an empty bucket."""
    s3_client.create_bucket(Bucket="images")
    yield s3_client
    s3.delete(s3_client, "images")


def objects(client: Any) -> dict[str, bytes]:
    """Everything in the bucket."""
    return s3.objects(client, "images")


def pid_free(name: str) -> str:
    """A name of a temporary file without the process in it."""
    return name.replace(str(os.getpid()), "PID")
