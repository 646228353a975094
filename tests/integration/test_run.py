"""`ganpipe run`: the whole pipeline through Prefect, DVC and MLflow, with no server running."""

import json
import re
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from ganpipe import tracking
from ganpipe.files import read_json

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def ran(tmp_path_factory, checkout_of_this_code):
    """A checkout in which `ganpipe run` has run once, and what it printed."""
    checkout = checkout_of_this_code(tmp_path_factory.mktemp("run") / "check out")
    return checkout, checkout.call("ganpipe", "run")


@pytest.fixture(scope="module")
def ran_again(ran):
    """What a second `ganpipe run` in the same checkout printed."""
    checkout, _ = ran
    return checkout.call("ganpipe", "run")


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


def test_the_second_run_trains_nothing_and_says_so(ran, ran_again):
    (checkout, first), done = ran, ran_again
    assert "nothing was trained" in _fact(done.stdout, "run")
    assert "version 1" in _fact(done.stdout, "model")
    before = checkout.outputs(_workspace(checkout, first.stdout))
    assert checkout.outputs(_workspace(checkout, done.stdout)) == before
    assert len(before) > 20


def test_both_runs_are_in_mlflow_with_every_point_and_in_prefect_with_a_picture(ran, ran_again):
    checkout, first = ran
    state = checkout.folder / ".ganpipe"
    client = tracking.connect(f"sqlite:///{state / 'mlflow' / 'mlflow.db'}")
    for done in (first, ran_again):
        workspace = _workspace(checkout, done.stdout)
        experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
        name = f"attributes.run_name = '{workspace.name}'"
        (run,) = client.search_runs([experiment], name)
        assert run.info.status == "FINISHED"
        lines = (workspace / "model" / "history.jsonl").read_text().splitlines()
        expected = [(each["images"], each["loss_generator"]) for each in map(json.loads, lines)]
        points = client.get_metric_history(run.info.run_id, "loss_generator")
        assert [(point.step, point.value) for point in points] == expected
        assert len(expected) > 1
        metrics = read_json(workspace / "report" / "metrics.json")
        for key in ("fid_lite0_64", "floor_fid_lite0_64"):
            assert run.data.metrics[key] == metrics[key]
        kept = {entry.path for entry in client.list_artifacts(run.info.run_id, "report")}
        names = {path.name for path in (workspace / "report").iterdir()}
        assert kept == {f"report/{name}" for name in names}
        assert {"metrics.json", "evaluation.json", "index.html", "samples.png"} <= names
        assert client.list_artifacts(run.info.run_id, "grids")
        report = _artifact(state, run.data.tags["ganpipe.prefect_flow_run"], "report")
        assert "data:image/" in report
        assert workspace.name in report


def _artifact(state, flow_run, key):
    """The data of the one artifact of this key that a flow run left in Prefect's database."""
    database = f"{(state / 'prefect' / 'prefect.db').as_uri()}?mode=ro"
    query = "SELECT data FROM artifact WHERE key = ? AND flow_run_id = ?"
    with closing(sqlite3.connect(database, uri=True)) as connection:
        ((data,),) = connection.execute(query, (key, flow_run)).fetchall()
    return data


def test_generate_writes_the_images_of_a_registered_version(ran, tmp_path):
    checkout, _ = ran
    command = ["ganpipe", "generate", "--model", "models:/ganpipe@champion", "--n", "5"]
    for name in ("one", "two"):
        checkout.call(*command, "--seed", "3", "--out", str(tmp_path / name))
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len([name for name in names if name.endswith(".png") and name != "grid.png"]) == 5
    assert {"grid.png", "generation.json", "metadata.jsonl"} <= set(names)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with Image.open(tmp_path / "one" / names[0]) as image:
        assert np.asarray(image).shape == (16, 16)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_gives_the_bytes_of_plain_dvc(tmp_path, checkout_of_this_code):
    """SIGKILL in mid-training, started again: the bytes of `dvc repro` that nobody interrupted."""
    longer = ["train.kimg=40", "train.state_kimg=1", "train.precision=bf16"]
    checkout = checkout_of_this_code(tmp_path / "run", longer)
    command = [shutil.which("ganpipe", path=checkout.environment()["PATH"]), "run"]
    run = subprocess.Popen(
        command,
        cwd=checkout.folder,
        env=checkout.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    scratch = checkout.folder / ".ganpipe" / "scratch"
    deadline = time.monotonic() + 200
    while not list(scratch.glob("*/states/*.json")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.kill()
    run.wait()
    done = checkout.call("ganpipe", "run")
    assert "resumed" in done.stdout + done.stderr
    workspace = _workspace(checkout, done.stdout)
    plain = checkout.clone(tmp_path / "plain")
    shutil.copyfile(workspace / "params.yaml", plain.folder / "params.yaml")
    plain.call("dvc", "repro")
    assert plain.outputs() == checkout.outputs(workspace)


def test_edits_are_run_and_adopt_brings_the_run_into_the_checkout(ran, tmp_path):
    checkout, _ = ran
    clone = checkout.clone(tmp_path / "clone")
    shutil.copytree(checkout.folder / ".ganpipe" / "cache", clone.folder / ".ganpipe" / "cache")
    (clone.folder / "README.md").write_text("edited\n")
    done = clone.call("ganpipe", "run", "--set", "train.kimg=3")
    assert "uncommitted" in done.stdout + done.stderr
    assert clone.git("status", "--porcelain") == " M README.md\n"
    brought = clone.call("ganpipe", *_fact(done.stdout, "adopt").split()[1:]).stdout
    assert "brought params.yaml, dvc.lock\nnext: dvc checkout" in brought
    expected = " M README.md\n M params.yaml\n?? dvc.lock\n"
    assert clone.git("status", "--porcelain") == expected
    again = clone.call("ganpipe", *_fact(done.stdout, "adopt").split()[1:]).stdout
    assert "nothing changed" in again
    clone.call("dvc", "checkout")
    assert "up to date" in clone.call("dvc", "status").stdout
    assert "fid_lite0_64" in clone.call("dvc", "metrics", "show").stdout
    assert clone.outputs() == clone.outputs(_workspace(clone, done.stdout))
