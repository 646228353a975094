"""The same questions where the remote is a bucket."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from ganpipe.addresses import opener
from ganpipe.lineage import verify
from ganpipe.lineage.reproduce import reproduce
from tests.lineage.tiny import Project, away, write


@pytest.fixture
def bucket(
    project: Project, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, str]]:
    """A client of an S3 server, and the bucket there that has the objects of the remote."""
    address = f"http://127.0.0.1:{free_port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(free_port)]
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "none"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    config = project.repo / ".dvc" / "config.local"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                opener(address).open(address, timeout=2)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
        client = boto3.client("s3", endpoint_url=address)
        client.create_bucket(Bucket="store")
        for each, path in project.objects(project.remote).items():
            key = f"dvc/files/md5/{each[:2]}/{each[2:]}"
            client.put_object(Bucket="store", Key=key, Body=path.read_bytes())
        settings = f"    url = s3://store/dvc\n    endpointurl = {address}\n"
        write(config, f"['remote \"store\"']\n{settings}")
        yield client, "store"
    finally:
        config.unlink(missing_ok=True)
        server.kill()
        server.wait()


def test_a_bucket_is_asked_for_what_the_cache_lacks(
    project: Project, bucket: tuple[Any, str]
) -> None:
    version, (client, name) = project.version(1), bucket
    with away(project.cache):
        assert verify(project.uri, version, project.repo) == []
        made = reproduce(project.uri, version, project.repo)
        assert made.identical
        shutil.rmtree(made.workspace)
    wanted = project.entries(project.lock(1)["data/raw"])["manifest.parquet"]
    client.delete_object(Bucket=name, Key=f"dvc/files/md5/{wanted[:2]}/{wanted[2:]}")
    with away(project.cache):
        (told,) = verify(project.uri, version, project.repo)
    assert told.startswith(f"data/raw/manifest.parquet: {wanted} is neither in the cache nor on")
    assert "s3://store/dvc" in told
