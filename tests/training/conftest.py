"""An S3 server of our own for the tests of train.state_url."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server."""
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


class Bucket:
    """A bucket, seen by another client than the one that is tested."""

    name, url = "states", "s3://states/of/runs"

    def __init__(self) -> None:
        self.client: Any = boto3.client("s3")

    def create(self) -> None:
        self.client.create_bucket(Bucket=self.name)

    def files(self) -> dict[str, bytes]:
        """Contents by the part of their names below the run's own folder."""
        listed = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {
            each["Key"].split("/", 3)[-1]: self.client.get_object(
                Bucket=self.name, Key=each["Key"]
            )["Body"].read()
            for each in listed
        }

    def _key(self, name: str) -> str:
        listed = self.client.list_objects_v2(Bucket=self.name)["Contents"]
        return next(each["Key"] for each in listed if each["Key"].endswith(f"/{name}"))

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=self._key(name), Body=content)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self._key(name))

    def delete(self) -> None:
        for each in self.client.list_objects_v2(Bucket=self.name).get("Contents", []):
            self.client.delete_object(Bucket=self.name, Key=each["Key"])
        self.client.delete_bucket(Bucket=self.name)


@pytest.fixture
def bucket(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bucket]:
    """An empty bucket of that server, which the environment makes the one for s3://."""
    none = str(tmp_path_factory.getbasetemp() / "none")
    settings = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": none,
        "AWS_SHARED_CREDENTIALS_FILE": none,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    made = Bucket()
    made.create()
    yield made
    made.delete()
