"""`ganpipe run`: the whole pipeline through Prefect, DVC and MLflow, with no server running."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from ganpipe.files import read_json

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def ran(tmp_path_factory, checkout_of_this_code):
    """A checkout in which `ganpipe run` has run once, and what it printed."""
    checkout = checkout_of_this_code(tmp_path_factory.mktemp("run") / "check out")
    return checkout, checkout.call("ganpipe", "run")


def _fact(output, name):
    found = re.search(rf"^{name}\s+(.+)$", output, re.MULTILINE)
    assert found is not None, output
    return found.group(1)


def _workspace(checkout, output):
    return checkout.folder / ".ganpipe" / "workspaces" / _fact(output, "run").split(",")[0]


def test_it_ends_with_what_the_user_wants_to_know(ran):
    checkout, done = ran
    metrics = read_json(_workspace(checkout, done.stdout) / "report" / "metrics.json")
    assert f"fid_lite0_64 = {metrics['fid_lite0_64']:.2f}" in _fact(done.stdout, "measure")
    assert f"{metrics['floor_fid_lite0_64']:.2f}" in _fact(done.stdout, "measure")
    with Image.open(_fact(done.stdout, "samples")) as grid:
        assert min(grid.size) > 100
    assert "ganpipe version 1, champion" in _fact(done.stdout, "model")
    assert "models:/ganpipe@champion" in _fact(done.stdout, "generate")
    assert _fact(done.stdout, "look") == "make ui"


def test_no_traceback_and_no_warning_reaches_the_screen(ran):
    _, done = ran
    screen = done.stdout + done.stderr
    for word in ("Traceback", "Warning", "ERROR", "task_run_recorder", "alembic"):
        assert word not in screen


def test_all_state_lies_under_one_ignored_folder(ran):
    checkout, _ = ran
    assert checkout.git("status", "--porcelain") == ""
    assert not [path for path in checkout.home.rglob("*") if path.is_file()]
    assert (checkout.folder / ".ganpipe" / "prefect").is_dir()
    assert (checkout.folder / ".ganpipe" / "mlflow" / "mlflow.db").is_file()


def test_the_second_run_trains_nothing_and_says_so(ran):
    checkout, first = ran
    done = checkout.call("ganpipe", "run")
    assert "nothing was trained" in _fact(done.stdout, "run")
    assert "version 1" in _fact(done.stdout, "model")
    before = checkout.outputs(_workspace(checkout, first.stdout))
    assert checkout.outputs(_workspace(checkout, done.stdout)) == before
    assert len(before) > 20


def test_generate_writes_the_images_of_a_registered_version(ran, tmp_path):
    checkout, _ = ran
    command = ["ganpipe", "generate", "--model", "models:/ganpipe@champion", "--n", "5"]
    for name in ("one", "two"):
        checkout.call(*command, "--seed", "3", "--out", str(tmp_path / name))
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len([name for name in names if name != "grid.png"]) == 5
    assert "grid.png" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / names[0]) as image:
        assert np.asarray(image).shape == (16, 16)


def test_edits_are_run_and_adopt_brings_the_run_into_the_checkout(ran, tmp_path):
    checkout, _ = ran
    clone = checkout.clone(tmp_path / "clone")
    shutil.copytree(checkout.folder / ".ganpipe" / "cache", clone.folder / ".ganpipe" / "cache")
    (clone.folder / "README.md").write_text("edited\n")
    done = clone.call("ganpipe", "run", "--set", "train.kimg=3")
    assert "uncommitted" in done.stdout + done.stderr
    assert clone.git("status", "--porcelain") == " M README.md\n"
    clone.call("ganpipe", *_fact(done.stdout, "adopt").split()[1:])
    expected = " M README.md\n M params.yaml\n?? dvc.lock\n"
    assert clone.git("status", "--porcelain") == expected
    clone.call("dvc", "checkout")
    assert "up to date" in clone.call("dvc", "status").stdout
    assert "fid_lite0_64" in clone.call("dvc", "metrics", "show").stdout
    assert clone.outputs() == clone.outputs(_workspace(clone, done.stdout))
