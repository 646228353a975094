"""Small generators, and requests for their images."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import torch

from ganpipe.generation import Written, generate
from ganpipe.networks import Generator, NetworkConfig, build_generator, save_generator
from ganpipe.params.generate import generate_params

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


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server of our own."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found[1]
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """An S3 client; `images` is an empty bucket, and the environment's s3:// is that server."""
    none = str(tmp_path / "none")
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": none,
        "AWS_SHARED_CREDENTIALS_FILE": none,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    client: Any = boto3.client("s3")
    client.create_bucket(Bucket="images")
    yield client
    for name in objects(client):
        client.delete_object(Bucket="images", Key=name)
    client.delete_bucket(Bucket="images")


def objects(client: Any) -> dict[str, bytes]:
    """Everything in the bucket."""
    listed = client.list_objects_v2(Bucket="images").get("Contents", [])
    return {
        each["Key"]: client.get_object(Bucket="images", Key=each["Key"])["Body"].read()
        for each in listed
    }


def pid_free(name: str) -> str:
    """A name of a temporary file without the process in it."""
    return name.replace(str(os.getpid()), "PID")
