"""`ganpipe init`: safe to repeat, and what it sets is what DVC sees."""

import subprocess
import sys

import pytest

from ganpipe.errors import GanpipeError
from ganpipe.setup import initialise


def _dvc(root, *arguments):
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "check out"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    _dvc(root, "init")
    return root


def test_it_writes_what_is_missing_once(checkout):
    first = initialise(checkout)
    assert len(first) == 2
    assert (checkout / "params.yaml").is_file()
    assert (checkout / "data" / "source.json").is_file()
    assert initialise(checkout) == ["nothing to do: params.yaml and data/source.json are there"]


def test_a_folder_becomes_the_remote_and_may_be_changed(checkout, tmp_path):
    for name in ("first", "second store"):
        initialise(checkout, str(tmp_path / name))
        listed = " ".join(_dvc(checkout, "remote", "list").split())  # dvc wraps long lines
        assert str(tmp_path / name) in listed
        assert (tmp_path / name).is_dir()
    ignored = ["git", "check-ignore", ".dvc/config.local"]
    subprocess.run(ignored, cwd=checkout, check=True)


def test_a_bucket_keeps_its_endpoint(checkout):
    initialise(checkout, "s3://bucket/path", "http://127.0.0.1:9000")
    assert "s3://bucket/path" in _dvc(checkout, "remote", "list")
    assert "http://127.0.0.1:9000" in (checkout / ".dvc" / "config.local").read_text()


def test_no_checkout_and_a_lone_endpoint_are_refused(checkout, tmp_path):
    with pytest.raises(GanpipeError, match="no ganpipe checkout"):
        initialise(tmp_path)
    with pytest.raises(GanpipeError, match="--remote"):
        initialise(checkout, "", "http://127.0.0.1:9000")
