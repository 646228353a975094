"""A checkout with runs and versions as ganpipe leaves them, made fast: real git, DVC, MLflow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganpipe import lineage, params, registry, tracking, workspace
from ganpipe.collection import Item, Plan, Rules, collect, plan
from ganpipe.collection.cache import HASH
from ganpipe.files import read_json, sha256
from ganpipe.lineage import carried
from ganpipe.lineage.identity import outputs
from ganpipe.params import Params

PIPELINE = """
stages:
  start:
    cmd: mkdir -p data/start && grep -o 'start:.*' params.yaml > data/start/state.json
    params: [train.start]
    outs: [data/start]
    deps: [code.txt]
  ingest:
    cmd: >-
      mkdir -p data/raw && grep -o 'path:.*' params.yaml > data/raw/images && cp code.txt data/raw
    params: [data.path]
    deps: [code.txt]
    outs: [data/raw]
  train:
    cmd: >-
      mkdir -p model checkpoints && cp data/raw/images checkpoints/big &&
      grep -o '  seed:.*' params.yaml > model/generator.safetensors && echo 1 > model/generator.json
      && grep -o 'start:.*' params.yaml > checkpoints/state.json && ./more.sh
    params: [train.seed]
    deps: [data/raw, data/start, code.txt, more.sh]
    outs: [model, checkpoints]
"""
RUNS = (
    ("data.path=a", "train.seed=0"),
    ("data.path=a", "train.seed=1"),
    ("data.path=b", "train.seed=2"),
    ("data.path=b", "train.seed=3"),
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def dvc(folder: Path, repo: Path, *arguments: str) -> None:
    env = workspace.environment(repo, folder)
    command = [sys.executable, "-P", "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass
class World:
    """A repository, and what each of the RUNS came to, to be had again in an instant."""

    repo: Path
    backup: Path
    uri: str = ""
    made: int = 0
    locks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.uri = self.uri or tracking.tracking_uri(self.state)

    @property
    def state(self) -> Path:
        return workspace.state_folder(self.repo)

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    @property
    def client(self) -> Any:
        return tracking.connect(self.uri)

    def prepare(self) -> None:
        """Run the pipeline with DVC, once for each of the RUNS, and keep what came out."""
        for number, assignments in enumerate(RUNS):
            chosen = params.override(Params(), list(assignments))
            made = workspace.create(self.repo, workspace.pin(self.repo), chosen, f"first-{number}")
            dvc(made, self.repo, "repro")
            shutil.copytree(made, self.backup / str(number), ignore=shutil.ignore_patterns(".*"))
        shutil.copytree(self.cache, self.backup / "cache")

    def empty(self) -> None:
        """Nothing but the repository: for a test of its own."""
        for name in (
            "workspaces",
            "cache",
            "scratch",
            "models",
            "logs",
            "sweeps",
            "watch",
            "mlflow/artifacts",
        ):
            shutil.rmtree(self.state / name, ignore_errors=True)
        for ref in workspace.git(
            self.repo, "for-each-ref", "--format=%(refname)", "refs/ganpipe/"
        ).split():
            workspace.git(self.repo, "update-ref", "-d", ref)

    def run(self, which: int, *, status: str = "FINISHED") -> str:
        """A run with the outputs of RUNS[which]: workspace, cache, MLflow; returns its id there."""
        self.made += 1
        name = f"run-{self.made}"
        chosen = params.override(Params(), list(RUNS[which]))
        pin = workspace.pin(self.repo)
        made = workspace.create(self.repo, pin, chosen, name)
        for source in (self.backup / "cache").rglob("*"):
            target = self.cache / source.relative_to(self.backup / "cache")
            if source.is_file() and not target.exists() and self._is_of(which, source):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        shutil.copytree(self.backup / str(which), made, dirs_exist_ok=True)
        identity = lineage.identity(made, pin)
        run_id = tracking.start_run(self.uri, self.state, name, chosen, identity)
        self.client.log_text(run_id, "a report", "report/index.html")
        if status != "RUNNING":
            self.client.set_terminated(run_id, status)
        return run_id

    def _is_of(self, which: int, source: Path) -> bool:
        lock = (self.backup / str(which) / "dvc.lock").read_text(encoding="utf-8")
        if source.parts[-4] == "runs":
            made = source.read_text(encoding="utf-8").partition("outs:")[2]
            return all(each in lock for each in HASH.findall(made))
        name = source.parent.name + source.name
        lists = [self.backup / "cache/files/md5" / each[:2] / each[2:] for each in folders(lock)]
        listed = [entry["md5"] for path in lists for entry in read_json(path)]
        return name in lock or name in listed

    def version(self, run_id: str, which: int, model: str = "ganpipe") -> str:
        """Register a run's generator as packaging does; returns the version's number."""
        client = self.client
        run = client.get_run(run_id)
        made = self.state / "workspaces" / run.info.run_name
        tags = {k: v for k, v in run.data.tags.items() if k.startswith("ganpipe.")}
        tags["ganpipe.generator_sha256"] = sha256(made / "model" / "generator.safetensors")
        tags["ganpipe.dvc_lock_sha256"] = sha256(made / "dvc.lock")
        logged = client.create_logged_model(
            run.info.experiment_id, name="generator", source_run_id=run_id, tags=tags
        )
        folder = made.parent / f".{made.name}.package"
        shutil.copytree(made / "model", folder / "artifacts" / "generator")
        carried.pack(made, folder / "lineage")
        client.log_model_artifacts(logged.model_id, str(folder))
        client.finalize_logged_model(logged.model_id, "READY")
        shutil.rmtree(folder)
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        made_version = client.create_model_version(
            model,
            source=logged.artifact_location,
            run_id=run_id,
            tags=tags,
            model_id=logged.model_id,
        )
        return str(made_version.version)

    def registered(self, which: int, model: str = "ganpipe") -> str:
        return self.version(self.run(which), which, model)

    def alias(self, name: str, version: str, model: str = "ganpipe") -> None:
        self.client.set_registered_model_alias(model, name, version)

    def numbers(self, model: str = "ganpipe") -> list[int]:
        return sorted(
            int(v.version) for v in self.client.search_model_versions(f"name = '{model}'")
        )

    def plan(self, **options: Any) -> Plan:
        return plan(self.repo, self.uri, rules(**options))

    def gc(self, approved: Plan | None = None, **options: Any) -> list[Item]:
        """Plan and execute; returns what is gone."""
        gone: list[Item] = []
        chosen = rules(**options)
        approved = approved or plan(self.repo, self.uri, chosen)
        lock = registry.file_lock(self.state, 1.0)
        collect(self.repo, self.uri, approved, chosen, lock=lock, done=gone.append)
        return gone

    def lost(self) -> list[str]:
        """What `verify` misses of all versions that there are."""
        found = self.client.search_model_versions()
        return [
            f"{v.name}/{v.version}: {problem}"
            for v in found
            for problem in lineage.verify(self.uri, v, self.repo)
        ]

    def objects(self) -> set[str]:
        root = self.cache / "files" / "md5"
        return {f"{p.parent.name}{p.name}" for p in root.rglob("*") if p.is_file()}


def folders(lock: str) -> list[str]:
    return [each for each in outputs(lock).values() if each.endswith(".dir")]


def rules(**options: Any) -> Rules:
    return Rules(**{"older_than": 0.0, "keep_last": 0, **options})


def everything(folder: Path) -> dict[str, str]:
    """The bytes of all files below a folder; the database by its content of tables."""
    return {
        str(path.relative_to(folder)): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "mlflow.db" not in path.name
    }


def as_dict(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found
