"""A small repository whose pipeline makes, in seconds, generators that can be registered."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from ganpipe import lineage, params, registry, tracking, workspace
from ganpipe.params import Params
from ganpipe.registry import Registration

METRIC = "fid_lite0_898"
# data.min_side makes the data set, train.seed the weights, train.kimg the distance
MAKE = f'''
import hashlib, json, pathlib, sys
from ganpipe import params
chosen, here = params.load(), pathlib.Path(__file__).parent
def write(name, value):
    path = here / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
def read(name):
    return json.loads((here / name).read_text())
def preprocess():
    for side in ("train", "test"):
        digest = hashlib.sha256(f"{{side}} {{chosen.data.min_side}}".encode()).hexdigest()
        write(f"data/{{side}}/dataset.json", dict(sha256=digest))
def reference():
    protocol = dict(metric="{METRIC}", extractor="lite0", samples=chosen.evaluate.samples,
                    dataset_sha256=read("data/train/dataset.json")["sha256"])
    write("data/reference/reference.json", dict(protocol=protocol))
def train():
    import torch
    from ganpipe.networks import Generator, NetworkConfig, build_generator, save_generator
    torch.manual_seed(chosen.train.seed)
    config = NetworkConfig("dcgan", 16, 4, 16, 8, 8, 1)
    (here / "model").mkdir()
    images = int(chosen.train.kimg * 1000)
    save_generator(here / "model", Generator(build_generator(config), config, [], images))
def evaluate():
    import numpy
    from PIL import Image
    weights = (here / "model/generator.safetensors").read_bytes()
    about = dict(title="t", generator_sha256=hashlib.sha256(weights).hexdigest(), warnings=[],
                 lineage={{}}, **read("data/reference/reference.json"))
    kimg = read("model/generator.json")["images"] / 1000
    row = dict(means="", protocol="", note="", champion=None, champion_low=None,
               champion_high=None, low=None, high=None)
    measures = [
        row | dict(name="{METRIC}", value=kimg, better="lower", low=kimg - 0.1, high=kimg + 0.1,
                   floor=2.0),
        row | dict(name="recall_lite0_898", value=0.5, better="higher", floor=0.9),
        row | dict(name="coverage_lite0_898", value=0.5, better="higher", floor=1.0),
    ]
    verdict = dict(finding="nothing found", evidence=[], seen=[], opening="No copying was found.")
    write("report/evaluation.json", about | dict(measures=measures, memorisation=verdict))
    numbers = {{each["name"]: each["value"] for each in measures}}
    write("report/metrics.json", numbers | {{"floor_{METRIC}": 2.0}})
    noise = numpy.random.default_rng(int(kimg)).integers(0, 256, (128, 128), dtype=numpy.uint8)
    Image.fromarray(noise).save(here / "report/samples.png")
print(sys.argv[1], "runs")
globals()[sys.argv[1]]()
'''
PIPELINE = """
stages:
  preprocess:
    cmd: python make.py preprocess
    params: [data.min_side]
    deps: [make.py]
    outs: [data/train, data/test]
  reference:
    cmd: python make.py reference
    params: [evaluate.samples]
    deps: [make.py, data/train]
    outs: [data/reference]
  train:
    cmd: python make.py train
    params: [train.seed, train.kimg]
    deps: [make.py, data/train]
    outs: [model]
  evaluate:
    cmd: python make.py evaluate
    params: [evaluate.samples]
    deps: [make.py, model, data/reference]
    outs: [report]
"""
IGNORED = ["/.ganpipe/", "/data/", "/model/", "/report/", "__pycache__/"]


class Repository:
    """A git repository with its own DVC cache and MLflow, and a copy of the code."""

    def __init__(self, folder: Path, code: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        ignore = shutil.ignore_patterns("__pycache__")
        for name in ("flows", "ganpipe", "infra"):
            shutil.copytree(code / name, folder / name, ignore=ignore)
        (folder / ".dvc").mkdir()
        (folder / ".dvc" / "config").write_text("[cache]\n    dir = ../.ganpipe/cache\n")
        (folder / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
        (folder / ".gitignore").write_text("\n".join(IGNORED))
        (folder / "make.py").write_text(MAKE)
        (folder / "dvc.yaml").write_text(PIPELINE)
        params.write(params.override(Params(), ["evaluate.samples=898"]), folder / "params.yaml")
        workspace.git(folder, "init", "--quiet", "--template=")
        workspace.git(folder, "config", "user.name", "A Person")
        workspace.git(folder, "config", "user.email", "person@localhost")
        workspace.git(folder, "add", ".")
        workspace.git(folder, "commit", "--quiet", "-m", "start")
        self.state = workspace.state_folder(folder)
        self.uri = f"sqlite:///{self.state / 'mlflow' / 'mlflow.db'}"

    def register(self, seed: int, distance: float, *assignments: str) -> Registration:
        """Make and register a version; distances that are smaller are better."""
        chosen = params.load(self.folder / "params.yaml")
        made_of = [f"train.seed={seed}", f"train.kimg={distance}", *assignments]
        chosen = params.override(chosen, made_of)
        pinned = workspace.pin(self.folder)
        name = chosen.registration.model
        made = workspace.create(self.folder, pinned, chosen, f"{name}-{seed}")
        command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
        env = workspace.environment(self.folder, made)
        subprocess.run(command, cwd=made, env=env, check=True, stdin=subprocess.DEVNULL)
        identity = lineage.identity(made, pinned)
        run = tracking.start_run(self.uri, self.state, made.name, chosen, identity)

        def lock() -> AbstractContextManager[None]:
            return registry.file_lock(self.state)

        registered = registry.register(self.uri, run, made, chosen, identity, lock)
        tracking.end_run(self.uri, run, "FINISHED")
        return registered

    def aliases(self, model: str) -> dict[str, str]:
        return registry.aliases(tracking.connect(self.uri), model)
