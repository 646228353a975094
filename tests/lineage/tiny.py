"""A small pipeline that real git, DVC and MLflow work on, and ways to damage what they keep."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from ganpipe import lineage, params, tracking, workspace
from ganpipe.data.sources import refresh
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, sha256
from ganpipe.lineage import carried
from ganpipe.params import Params

# Stages that do as ganpipe's do, in an instant: the same names, folders and files.
WORK = """
import hashlib, json, os, shutil, sys
from pathlib import Path
import pandas as pd
import yaml

params = yaml.safe_load(Path("params.yaml").read_text())
if sys.argv[1] == "ingest":
    folder = Path("data/raw")
    folder.mkdir()
    files = sorted(Path(params["data"]["path"]).rglob("*.png"))
    rows = [{"label": f.parent.name, "status": "ok",
             "sha256": hashlib.sha256(f.read_bytes()).hexdigest()} for f in files]
    frame = pd.DataFrame(rows)
    frame.to_parquet(folder / "manifest.parquet", index=False)
    counts = frame["label"].value_counts().sort_index().to_dict()
    raw = {"files": len(rows), "count": len(rows), "statuses": {"ok": len(rows)},
           "splits": {"train": len(rows), "test": 0}, "class_counts": counts}
    (folder / "raw.json").write_text(json.dumps(raw))
if sys.argv[1] == "train":
    shutil.copytree(f"generators/{params['train']['seed']}", "model")
    Path("checkpoints").mkdir()
    Path("checkpoints/state.json").write_text(Path("note.txt").read_text() + EDITED)
    Path("checkpoints/drift").write_text(os.environ.get("DRIFT", ""))
    if "BREAK" in os.environ: sys.exit("broken")
    if "HANG" in os.environ:  # until whoever supervises it is gone
        assert os.environ["GANPIPE_SUPERVISED"] == "1"
        Path(os.environ["HANG"]).write_text(str(os.getpid()))
        os.read(0, 1)
if sys.argv[1] == "evaluate":
    Path("report").mkdir()
    digest = hashlib.sha256(Path("model/generator.safetensors").read_bytes()).hexdigest()
    value = 5.0 - params["train"]["seed"]
    row = {"name": "fid_tiny_9", "value": value, "better": "lower",
           "low": value - 0.1, "high": value + 0.1, "floor": 1.0}
    protocol = {"metric": "fid_tiny_9", "samples": 9, "seed": params["evaluate"]["seed"]}
    Path("report/evaluation.json").write_text(json.dumps(
        {"protocol": protocol, "generator_sha256": digest, "measures": [row],
         "memorisation": "not looked for"}))
    Path("report/metrics.json").write_text(json.dumps({"fid_tiny_9": value}))
"""
PIPELINE = """
stages:
  ingest:
    cmd: python work.py ingest
    params: [data.path]
    deps: [data/source.json]
    outs: [data/raw]
  train:
    cmd: python work.py train
    params: [train.seed]
    deps: [data/raw, generators, note.txt, work.py, requirements.lock]
    outs: [model, checkpoints]
  evaluate:
    cmd: python work.py evaluate
    params: [evaluate.seed]
    deps: [model]
    outs: [report]
"""
IGNORED = ("/.ganpipe/", "/data/raw/", "/model/", "/checkpoints/", "/report/")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def dvc(folder: Path, repo: Path, *arguments: str) -> None:
    env = workspace.environment(repo, folder)
    command = [sys.executable, "-P", "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Project:
    """A repository with a source of images, a DVC remote, and a registry."""

    repo: Path
    images: Path
    remote: Path
    uri: str

    def run(self, *assignments: str) -> Any:
        """Run the pipeline at the checkout's code; returns the version it becomes."""
        chosen = params.override(
            Params(), ["data.source=folder", f"data.path={self.images}", *assignments]
        )
        pin = workspace.pin(self.repo)
        number = len(workspace.workspaces(self.repo))
        made = workspace.create(self.repo, pin, chosen, f"run-{number}")
        refresh(chosen.data, made)
        dvc(made, self.repo, "repro")
        dvc(made, self.repo, "push")
        return self.register(made, pin)

    def register(self, made: Path, pin: workspace.Pin) -> Any:
        """A version as packaging makes it, without what these tests do not look at."""
        kept = self.repo / ".ganpipe" / "mlflow" / made.name
        (kept / "artifacts").mkdir(parents=True)
        shutil.copytree(made / "model", kept / "artifacts" / "generator")
        carried.pack(made, kept / "lineage", pin.base, pin.commit)
        client = tracking.connect(self.uri)
        run = client.create_run("0", run_name=made.name, tags={"mlflow.user": "a person"})
        client.set_terminated(run.info.run_id)
        tags = tracking.identity_tags(lineage.identity(made, pin))
        tags["ganpipe.generator_sha256"] = sha256(made / "model" / "generator.safetensors")
        try:
            client.create_registered_model("ganpipe")
        except Exception as error:
            if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                raise
        return client.create_model_version(
            "ganpipe", source=kept.as_uri(), run_id=run.info.run_id, tags=tags
        )

    def version(self, number: int) -> Any:
        return tracking.connect(self.uri).get_model_version("ganpipe", str(number))

    def kept(self, number: int) -> Path:
        """The folder in which a version's files lie."""
        return Path(unquote(urlsplit(str(self.version(number).source)).path))

    def objects(self, folder: Path) -> dict[str, Path]:
        """Every object of a cache or remote: its hash, and where it is."""
        root = folder / "files" / "md5"
        return {f"{p.parent.name}{p.name}": p for p in root.rglob("*") if p.is_file()}

    @property
    def cache(self) -> Path:
        return self.repo / ".ganpipe" / "cache"

    def lock(self, number: int) -> dict[str, str]:
        text = (self.kept(number) / "lineage" / "dvc.lock").read_text(encoding="utf-8")
        return lineage.outputs(text)

    def entries(self, folder: str) -> dict[str, str]:
        listed = read_json(self.objects(self.remote)[folder])
        return {each["relpath"]: each["md5"] for each in listed}


@contextmanager
def away(path: Path) -> Iterator[None]:
    """A file or folder is not there in this block."""
    aside = path.with_name(f"{path.name}.aside")
    path.rename(aside)
    try:
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        aside.rename(path)


@contextmanager
def changed(path: Path) -> Iterator[None]:
    """One bit of a file is another in this block, its mode is what it was: so disks rot."""
    content, mode = path.read_bytes(), path.stat().st_mode
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    _put(path, bytes(damaged), mode)
    try:
        yield
    finally:
        _put(path, content, mode)


def _put(path: Path, content: bytes, mode: int) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


def draw(folder: Path, name: str, shade: int) -> None:
    import numpy as np

    from ganpipe.images import write_png

    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / name, np.full((8, 8, 1), shade, np.uint8))


def save_generators(folder: Path) -> None:
    """Two untrained generators, of seeds 0 and 1."""
    import torch

    from ganpipe.networks import Generator
    from ganpipe.networks.builder import NetworkConfig, build_generator
    from ganpipe.networks.generator import save_generator

    config = NetworkConfig(
        architecture="dcgan", latent=4, width=4, max_width=4, classes=2,
        image_height=8, image_width=8, image_channels=1,
    )  # fmt: skip
    for seed in (0, 1):
        torch.manual_seed(seed)
        (folder / str(seed)).mkdir(parents=True)
        save_generator(
            folder / str(seed),
            Generator(build_generator(config), config, ["cat", "dog"], 9, [1, 1]),
        )


def problem(call: Any, *arguments: Any, **options: Any) -> str:
    """The message that a call ends with."""
    with pytest.raises(GanpipeError) as raised:
        call(*arguments, **options)
    return str(raised.value)
