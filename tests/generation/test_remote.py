"""Images in a bucket, on a real S3 endpoint; and where it cannot be written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ganpipe.errors import GanpipeError
from tests.generation.conftest import Make, content, objects
from tests.generation.test_job import interrupted

URL = "s3://images/some/where"


@pytest.mark.parametrize("kind", ["png", "shards", "parquet"])
def test_a_bucket_gets_the_bytes_of_a_folder(
    classy: Path, tmp_path: Path, make: Make, bucket: Any, kind: str
) -> None:
    make(classy, tmp_path / "out", n=150, format=kind, rows=64)
    written = make(classy, URL, n=150, format=kind, rows=64)
    assert written.destination == URL
    expected = {f"some/where/{name}": each for name, each in content(tmp_path / "out").items()}
    assert objects(bucket) == expected
    assert make(classy, URL, n=150, format=kind, rows=64).made == 0


def test_what_is_in_the_bucket_is_gone_on_with(
    plain: Path, tmp_path: Path, make: Make, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(plain, tmp_path / "out", n=200, rows=64)
    interrupted(make, monkeypatch, plain, URL, n=200)
    assert "some/where/generation.json" not in objects(bucket)
    assert make(plain, URL, n=200, rows=64).made == 200 - 128
    found = {name.removeprefix("some/where/"): each for name, each in objects(bucket).items()}
    assert found == content(tmp_path / "out")


def test_images_of_another_request_are_replaced_only_where_that_is_said(
    plain: Path, tmp_path: Path, make: Make, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(plain, URL, n=300, format="shards", rows=64)
    before = objects(bucket)
    with pytest.raises(GanpipeError, match="n=300 there, 70 asked for"):
        make(plain, URL, n=70, format="shards", rows=64)
    assert objects(bucket) == before
    make(plain, URL, n=70, format="shards", rows=64, replace=True)
    make(plain, tmp_path / "out", n=70, format="shards", rows=64)
    found = {name.removeprefix("some/where/"): each for name, each in objects(bucket).items()}
    assert found == content(tmp_path / "out")
    # the old description goes before the first new file comes
    interrupted(make, monkeypatch, plain, URL, n=200, replace=True)
    assert "some/where/generation.json" not in objects(bucket)


def test_other_objects_are_never_touched(plain: Path, make: Make, bucket: Any) -> None:
    bucket.put_object(Bucket="images", Key="some/where/thesis.tex", Body=b"years of work")
    for replace in (False, True):
        with pytest.raises(GanpipeError, match=r"holds other files \(thesis\.tex\)"):
            make(plain, URL, replace=replace)
    assert list(objects(bucket)) == ["some/where/thesis.tex"]


def test_a_bucket_that_is_not_there_is_named(plain: Path, make: Make, bucket: Any) -> None:
    with pytest.raises(GanpipeError, match=r"s3://nobodys/x cannot be written .*the bucket must"):
        make(plain, "s3://nobodys/x")


@pytest.mark.usefixtures("bucket")
def test_a_store_that_does_not_answer_is_named(
    plain: Path, make: Make, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    with pytest.raises(GanpipeError, match=r"s3://images/some/where cannot be written"):
        make(plain, URL)


def test_a_protocol_that_nobody_knows_is_named(plain: Path, make: Make) -> None:
    with pytest.raises(GanpipeError, match=r"carrier-pigeon://x cannot be written"):
        make(plain, "carrier-pigeon://x")


def test_a_file_system_with_folders_is_written_too(plain: Path, tmp_path: Path, make: Make) -> None:
    url = f"local://{tmp_path}/new/folder"
    make(plain, url, n=70)
    about = json.loads((tmp_path / "new" / "folder" / "generation.json").read_text())
    assert about["count"] == 70
    make(plain, f"file://{tmp_path}/out", n=70)
    found = content(tmp_path / "new" / "folder")
    assert found == content(tmp_path / "out")
