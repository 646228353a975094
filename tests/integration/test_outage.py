"""MLflow goes away in the middle of a run: a known failure, and the next run takes up the rest."""

import re
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.integration

# Stages in miniature; the last one waits until the test has ended MLflow.
STAGE = """
import json, os, sys, time
from pathlib import Path
state, name = Path(os.environ["GANPIPE_STATE"]), sys.argv[1]
if name == "train":
    Path("model").mkdir()
    Path("model/history.jsonl").write_text('{"images": 1000, "kimg": 1, "loss_generator": 0.5}\\n')
    Path("model/generator.json").write_text('{"images": 1000}')
elif name == "evaluate":
    Path("report").mkdir()
    Path("report/metrics.json").write_text(json.dumps({"fid": 1.0, "protocol": {"metric": "fid"}}))
    (state / "waits").touch()
    while not (state / "go").exists():
        time.sleep(0.1)
else:
    Path(name).write_text("done")
"""
OUTPUTS = {"train": "model", "evaluate": "report"}
NAMES = ("start", "ingest", "preprocess", "reference", "train", "evaluate")


@pytest.fixture
def checkout(tmp_path, checkout_of_this_code):
    made = checkout_of_this_code(tmp_path / "check out")
    stages = "".join(
        f"  {name}: {{cmd: python stage.py {name}, outs: [{OUTPUTS.get(name, name)}]}}\n"
        for name in NAMES
    )
    (made.folder / "dvc.yaml").write_text(f"stages:\n{stages}")
    (made.folder / "stage.py").write_text(STAGE)
    made.commit("stages in miniature")
    return made


def test_mlflow_killed_in_mid_run_ends_it_with_a_message_and_code_2(
    checkout, tmp_path, mlflow_server, free_port
):
    state = checkout.folder / ".ganpipe"
    command = [sys.executable, "-m", "ganpipe", "run"]
    with mlflow_server(tmp_path / "their state", free_port) as address:
        env = checkout.environment(MLFLOW_TRACKING_URI=address, MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")
        run = subprocess.Popen(
            command,
            cwd=checkout.folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            deadline = time.monotonic() + 120
            while not (state / "waits").exists() and run.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        except BaseException:
            run.kill()
            run.wait()
            raise
    try:
        (state / "go").touch()
        said, _ = run.communicate(timeout=120)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 2, said
    assert re.search(rf"error: MLflow at {address} failed .*start it again and run again", said)
    assert "stays open" in said
    assert "Traceback" not in said
