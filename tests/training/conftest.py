"""A bucket for the tests of train.state_url."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import s3


class Bucket:
    """A bucket, seen by another client than the one that is tested."""

    name, url = "states", "s3://states/of/runs"

    def __init__(self, client: Any) -> None:
        self.client = client

    def create(self) -> None:
        self.client.create_bucket(Bucket=self.name)

    def files(self) -> dict[str, bytes]:
        """Contents by the part of their names below the run's own folder."""
        found = s3.objects(self.client, self.name)
        return {name.split("/", 3)[-1]: content for name, content in found.items()}

    def _key(self, name: str) -> str:
        listed = self.client.list_objects_v2(Bucket=self.name)["Contents"]
        return next(each["Key"] for each in listed if each["Key"].endswith(f"/{name}"))

    def put(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=self._key(name), Body=content)

    def remove(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self._key(name))

    def delete(self) -> None:
        s3.delete(self.client, self.name)


@pytest.fixture
def bucket(s3_client: Any) -> Iterator[Bucket]:
    """An empty bucket."""
    made = Bucket(s3_client)
    made.create()
    yield made
    made.delete()
