"""Model versions as the registry sees them, without training: a source folder with a report."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe import registry, tracking
from ganpipe.registry import CHAMPION, PREVIOUS, Move

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

METRIC = "fid_lite0_1k"
PROTOCOL = {"metric": METRIC, "extractor": "lite0", "samples": 1000, "reference_sha256": "ab"}
NOTHING_FOUND = {"finding": "nothing found", "opening": "No copying was found.", "evidence": []}


def row(name: str, value: float, low: float | None = None, high: float | None = None) -> Any:
    better = "lower" if name.startswith(("fid", "kid")) else "higher"
    return {"name": name, "value": value, "better": better, "low": low, "high": high, "floor": 1.5}


def told(
    value: float,
    low: float | None = None,
    high: float | None = None,
    recall: float = 0.6,
    coverage: float = 0.8,
    memorisation: Any = NOTHING_FOUND,
    **protocol: Any,
) -> dict[str, Any]:
    """An evaluation.json."""
    return {
        "protocol": {**PROTOCOL, **protocol},
        "generator_sha256": "0" * 64,
        "measures": [
            row(METRIC, value, low, high),
            row("recall_lite0_1k", recall),
            row("coverage_lite0_1k", coverage),
        ],
        "memorisation": memorisation,
    }


def all_there(version: ModelVersion) -> list[str]:
    del version
    return []


class Shelf:
    """A registry in a database, and versions that a test puts there."""

    def __init__(self, folder: Path, uri: str = "") -> None:
        self.folder = folder
        self.state = folder / "state"
        self.uri = uri or f"sqlite:///{(self.state / 'mlflow' / 'mlflow.db').absolute()}"
        tracking.check(self.uri)
        self.client = tracking.connect(self.uri)
        if self.client.get_experiment_by_name(tracking.EXPERIMENT) is None:
            kept = None if uri.startswith("http") else (folder / "artifacts").as_uri()
            self.client.create_experiment(tracking.EXPERIMENT, artifact_location=kept)

    def add(self, model: str, evaluation: dict[str, Any] | None, **tags: str) -> str:
        """A new version with this evaluation.json, or one that ganpipe did not make."""
        if not self.client.search_registered_models(f"name = '{model}'"):
            self.client.create_registered_model(model)
        source = self.folder / "sources" / os.urandom(8).hex()
        (source / "lineage" / "report").mkdir(parents=True)
        known = dict(tags)
        if evaluation is not None:
            sha256 = hashlib.sha256(str(source).encode()).hexdigest()
            known["ganpipe.generator_sha256"] = sha256
            text = json.dumps({**evaluation, "generator_sha256": sha256})
            (source / "lineage" / "report" / "evaluation.json").write_text(text)
        if not self.uri.startswith("http"):
            made = self.client.create_model_version(model, source.as_uri(), tags=known)
            return str(made.version)
        experiment = self.client.get_experiment_by_name(tracking.EXPERIMENT)
        assert experiment is not None  # a server takes what is its own, and nothing else
        run = self.client.create_run(experiment.experiment_id).info
        self.client.log_artifacts(run.run_id, str(source))
        made = self.client.create_model_version(model, run.artifact_uri, run.run_id, tags=known)
        return str(made.version)

    def evaluate(self, model: str, version: str, evaluation: dict[str, Any]) -> None:
        """A later evaluation of a version, as `ganpipe evaluate` leaves it."""
        found = self.client.get_model_version(model, version)
        sha256 = found.tags["ganpipe.generator_sha256"]
        experiment = self.client.get_experiment_by_name(tracking.EXPERIMENT)
        assert experiment is not None
        run_id = self.client.create_run(experiment.experiment_id).info.run_id
        text = json.dumps({**evaluation, "generator_sha256": sha256})
        self.client.log_text(run_id, text, "report/evaluation.json")
        protocol = json.dumps(evaluation["protocol"], sort_keys=True).encode()
        key = f"ganpipe.evaluation.{hashlib.sha256(protocol).hexdigest()[:16]}"
        self.client.set_model_version_tag(model, version, key, run_id)

    def lock(self) -> Any:
        return registry.file_lock(self.state)

    def promote(self, model: str, version: str, **more: Any) -> Move:
        given = {"reason": "it looks better", "by": "Ada", "lock": self.lock()}
        return registry.promote(self.uri, model, version, **{**given, "verify": all_there, **more})

    def rollback(self, model: str, **more: Any) -> Move:
        given = {"reason": "it repeats itself", "by": "Bo", "lock": self.lock()}
        return registry.rollback(self.uri, model, **{**given, "verify": all_there, **more})

    def reconcile(self, model: str, **more: Any) -> Move | None:
        return registry.reconcile(self.uri, model, lock=self.lock(), **more)

    def champions(self, model: str) -> tuple[str | None, str | None]:
        """Who is champion, and who was before."""
        found = registry.aliases(self.client, model)
        return found.get(CHAMPION), found.get(PREVIOUS)

    def tags(self, model: str, version: str) -> dict[str, str]:
        return dict(self.client.get_model_version(model, version).tags)

    def lines(self, model: str) -> list[dict[str, Any]]:
        """The lines of promotions.jsonl."""
        experiment = self.client.get_experiment_by_name(tracking.EXPERIMENT)
        assert experiment is not None
        where = f"tags.`ganpipe.promotions_of` = '{model}'"
        (run,) = self.client.search_runs([experiment.experiment_id], where)
        folder = self.folder / "downloads"
        folder.mkdir(exist_ok=True)
        kept = self.client.download_artifacts(run.info.run_id, "promotions.jsonl", str(folder))
        return [json.loads(line) for line in Path(kept).read_text().splitlines()]


@contextmanager
def before_write(number: int, act: Any) -> Iterator[list[str]]:
    """Call `act` before the n-th write by MLflow's client; yields the writes made."""
    from mlflow import MlflowClient

    calls: list[str] = []
    kept = {
        name: method
        for name, method in vars(MlflowClient).items()
        if callable(method) and name.startswith(("set_", "delete_", "create_", "log_"))
    }

    def counted(name: str, method: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            if len(calls) == number:
                act()
            return method(*arguments, **named)

        return call

    for name, method in kept.items():
        setattr(MlflowClient, name, counted(name, method))
    try:
        yield calls
    finally:
        for name, method in kept.items():
            setattr(MlflowClient, name, method)


def in_another_process(act: Any) -> int:
    """Fork, `act` there, and return its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Announced:
    """A lock that says when it is waited for."""

    def __init__(self, waiting: Any, lock: Any) -> None:
        self.waiting, self.lock = waiting, lock

    def __enter__(self) -> None:
        self.waiting.release()
        self.lock.__enter__()

    def __exit__(self, *error: object) -> None:
        self.lock.__exit__(*error)


def promote_beside_others(shelf: Shelf, model: str, version: str, waiting: Any, out: Any) -> None:
    """In a process of its own: promote, and tell how it ended."""
    from ganpipe.errors import GanpipeError

    lock = Announced(waiting, shelf.lock())
    try:
        move = shelf.promote(model, version, lock=lock, by=f"promoter of {version}")
        out.put((version, move.action))
    except GanpipeError as error:
        out.put((version, str(error)))
