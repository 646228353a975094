"""A repository on which whole flows run in seconds: every stage of ganpipe's, none of its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_server import settings, shared_server
from ganpipe import params, workspace
from ganpipe.params import Params
from tests.flows.registered import PIPELINE, Repository

# beside what make.py does: the stages that it has not, and a training that knows its images
MORE = """
import json, pathlib, sys, time
import numpy
from ganpipe import params
chosen, here = params.load(), pathlib.Path(__file__).parent
def write(name, value):
    (here / name).parent.mkdir(parents=True, exist_ok=True)
    (here / name).write_text(json.dumps(value))
def start():
    write("data/start/start.json", chosen.train.start)
def ingest():
    write("data/raw/source.json", json.loads((here / "data/source.json").read_text()))
def images():
    for side in ("train", "test"):
        path = here / "data" / side / "dataset.json"
        size = dict(height=8, width=8, channels=1, classes=[], count=2)
        path.write_text(json.dumps(json.loads(path.read_text()) | size))
        numpy.save(path.with_name("images-00000.npy"), numpy.zeros((2, 8, 8, 1), numpy.uint8))
def checkpoint():
    if chosen.train.beta1 == 0.5:
        sys.exit("beta1 of 0.5 is too much")
    began = json.loads((here / "data/start/start.json").read_text())
    write("checkpoints/state.json", dict(chosen.train.model_dump(mode="json"), began=began))
    write("model/history.jsonl", dict(images=1000, kimg=1, loss=0.5))
    with (here.parents[1] / "trained.txt").open("a") as file:
        file.write(f"{chosen.train.seed} {chosen.train.kimg} {chosen.train.lr}\\n")
    while (here.parents[1] / "wait").exists():
        time.sleep(0.1)
globals()[sys.argv[1]]()
"""
STAGES = """
  start:
    cmd: python more.py start
    params: [train.start]
    deps: [more.py]
    outs: [data/start]
  ingest:
    cmd: python more.py ingest
    params: [data.min_side]
    deps: [more.py, data/source.json]
    outs: [data/raw]
"""


def make(folder: Path, code: Path, *assignments: str) -> Repository:
    """The repository of `registered`, with a pipeline that `train` can run.

    `train.kimg` is the distance; each training adds a line to `trained.txt` in the state folder,
    and goes on while there is a file `wait` beside it; train.beta1=0.5 fails.
    """
    made = Repository(folder, code)
    pipeline = PIPELINE.replace(
        "cmd: python make.py train\n    params: [train.seed, train.kimg]\n"
        "    deps: [make.py, data/train]\n    outs: [model]",
        "cmd: python make.py train && python more.py checkpoint\n"
        "    params: [train.seed, train.kimg, train.lr, train.beta1, train.threads]\n"
        "    deps: [make.py, more.py, data/train, data/raw, data/start]\n"
        "    outs: [model, checkpoints]",
    )
    pipeline = pipeline.replace(
        "cmd: python make.py preprocess",
        "cmd: python make.py preprocess && python more.py images",
    )
    (folder / "dvc.yaml").write_text(f"{pipeline}{STAGES}")
    (folder / "more.py").write_text(MORE)
    (folder / ".gitignore").open("a").write("\n/checkpoints/\n")
    chosen = params.override(Params(), ["evaluate.samples=898", *assignments])
    params.write(chosen, folder / "params.yaml")
    workspace.git(folder, "add", ".")
    workspace.git(folder, "commit", "--quiet", "-m", "every stage")
    return made


def trained(made: Repository) -> list[str]:
    """Seed, kimg and lr of each training that ran, in their order."""
    path = made.state / "trained.txt"
    return path.read_text().splitlines() if path.exists() else []


@contextmanager
def server(state: Path) -> Iterator[str]:
    """A Prefect server with a home of its own, for flows of this process and of its children."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GANPIPE_STATE", "GIT_DIR"):
            patch.delenv(name, raising=False)
        with shared_server(state) as url, temporary_settings({PREFECT_API_URL: url}):
            for name, value in settings(state, url).items():
                patch.setenv(name, value)
            yield url


@contextmanager
def inside(made: Repository) -> Iterator[None]:
    """Flows of this process run in this checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made.folder)
        patch.setenv("GANPIPE_STATE", str(made.state))
        yield
