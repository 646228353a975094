"""The six stages under plain `dvc repro`: no Prefect, no MLflow, the same bytes every time."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from ganpipe.evaluation.results import read_results

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory, checkout_of_this_code):
    """A checkout in which `dvc repro` has run once."""
    checkout = checkout_of_this_code(tmp_path_factory.mktemp("check out"))
    done = checkout.call("dvc", "repro")
    for stage in ("start", "ingest", "preprocess", "reference", "train", "evaluate"):
        assert f"Running stage '{stage}'" in done.stdout
    return checkout


def test_a_second_repro_does_nothing(reproduced):
    done = reproduced.call("dvc", "repro")
    assert "Running stage" not in done.stdout
    assert "Data and pipelines are up to date." in done.stdout


def test_every_output_is_there_and_git_sees_none_of_them(reproduced):
    folders = {name.rsplit("/", 1)[0] for name in reproduced.outputs()}
    assert folders >= {"data/raw", "data/train", "data/test", "data/reference"}
    assert folders >= {"model", "model/grids", "checkpoints", "report"}
    assert reproduced.git("status", "--porcelain") == "?? dvc.lock\n"


def test_two_checkouts_with_empty_caches_give_the_same_bytes(
    reproduced, tmp_path, checkout_of_this_code
):
    other = checkout_of_this_code(tmp_path / "other")
    other.call("dvc", "repro")
    first, second = reproduced.outputs(), other.outputs()
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert len(first) > 20


def test_the_metrics_carry_their_protocol(reproduced):
    metrics = read_results(reproduced.folder / "report")
    protocol = metrics["protocol"]
    assert protocol["metric"] == "fid_lite0_64"
    assert metrics["fid_lite0_64"] > metrics["floor_fid_lite0_64"] > 0
    assert len(protocol["weights_sha256"]) == len(protocol["reference_sha256"]) == 64
    assert {"resize", "precision", "samples", "reals", "split", "seed"} <= protocol.keys()


def test_dag_metrics_and_plots_show(reproduced):
    assert "evaluate" in reproduced.call("dvc", "dag").stdout
    shown = json.loads(reproduced.call("dvc", "metrics", "show", "--json").stdout)
    (metrics,) = shown[""]["data"].values()
    assert metrics["data"]["fid_lite0_64"] > 0
    page = reproduced.call("dvc", "plots", "show").stdout.strip()
    assert "loss_generator" in Path(unquote(urlsplit(page).path)).read_text()


def test_push_here_and_pull_in_a_fresh_clone(reproduced, tmp_path):
    store = tmp_path / "store"
    reproduced.call("ganpipe", "init", "--remote", str(store))
    reproduced.commit("lock")
    reproduced.call("dvc", "push")
    clone = reproduced.clone(tmp_path / "clone")
    assert not (clone.folder / ".ganpipe").exists()
    clone.call("ganpipe", "init", "--remote", str(store))
    clone.call("dvc", "pull")
    assert clone.outputs() == reproduced.outputs()
    assert "up to date" in clone.call("dvc", "repro").stdout


@pytest.fixture
def bucket(tmp_path, free_port, monkeypatch):
    """An S3 endpoint of our own with one empty bucket: (bucket URL, endpoint URL)."""
    endpoint = f"http://127.0.0.1:{free_port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(free_port)]
    with (tmp_path / "s3.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        client = boto3.client("s3", endpoint_url=endpoint)
        deadline = time.monotonic() + 60
        while True:
            try:
                client.create_bucket(Bucket="images")
                break
            except EndpointConnectionError:
                assert time.monotonic() < deadline, (tmp_path / "s3.log").read_text()
                time.sleep(0.3)
        yield "s3://images/ganpipe", endpoint
    finally:
        server.kill()
        server.wait()


def test_a_bucket_serves_as_remote(reproduced, tmp_path, bucket):
    url, endpoint = bucket
    reproduced.call("ganpipe", "init", "--remote", url, "--endpoint", endpoint)
    assert "files pushed" in reproduced.call("dvc", "push").stdout
    clone = reproduced.clone(tmp_path / "clone")
    shutil.copyfile(reproduced.folder / "dvc.lock", clone.folder / "dvc.lock")
    clone.call("ganpipe", "init", "--remote", url, "--endpoint", endpoint)
    clone.call("dvc", "pull")
    assert clone.outputs() == reproduced.outputs()


def test_a_changed_source_asks_for_a_refresh(reproduced, tmp_path):
    clone = reproduced.clone(tmp_path / "clone")
    source = clone.folder / "data" / "source.json"
    source.write_text(source.read_text().replace('"count": 1797', '"count": 1796'))
    done = clone.call("dvc", "repro", "ingest", check=False)
    assert done.returncode != 0
    assert "ganpipe refresh" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (clone.folder / "data" / "raw").exists()
