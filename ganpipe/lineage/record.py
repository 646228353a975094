"""All that is known of a version, from pixels to aliases, as one plain structure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ganpipe.files import read_json
from ganpipe.lineage import carried
from ganpipe.lineage.identity import ENVIRONMENT, LOCK_FILE, REQUIREMENTS, SOURCE, outputs
from ganpipe.params import PARAMS_FILE, Params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

TAG = "ganpipe."


def record(uri: str, version: ModelVersion) -> dict[str, Any]:
    """Everything about a version, as JSON values; None or empty where it is not known.

    model, version, aliases, registered (ISO 8601, UTC); source; manifest; data; params and changed
    (`section.key` to value; those that differ from the defaults of this ganpipe); code;
    environment; requirements; start; run (None when it was deleted); outputs (path to DVC's
    hash); generator_sha256; measures, protocol, memorisation; decisions that it was part of, oldest
    first.
    Raises GanpipeError when MLflow is out of reach or the version has no lineage.
    """
    from ganpipe.registry import aliases, evaluation_of
    from ganpipe.tracking import check, connect

    check(uri)
    client = connect(uri)
    known = {key.removeprefix(TAG): each for key, each in version.tags.items() if TAG in key}
    evaluation = evaluation_of(uri, version)
    with carried.unpacked(uri, version) as kept:
        params = flat(_yaml(kept / PARAMS_FILE))
        lock = (kept / LOCK_FILE).read_text(encoding="utf-8")
        data = _json(kept / carried.DATA)
        return {
            "model": version.name,
            "version": str(version.version),
            "aliases": sorted(
                alias
                for alias, number in aliases(client, version.name).items()
                if number == str(version.version)
            ),
            "registered": _time(version.creation_timestamp),
            "source": _json(kept / SOURCE),
            "manifest": _manifest(data),
            "data": {side: data[side] for side in ("train", "test") if side in data},
            "params": params,
            "changed": _changed(params),
            "code": _code(known, kept / carried.PATCH),
            "environment": {key: known[key] for key in ENVIRONMENT if key in known},
            "requirements": _pins(kept / REQUIREMENTS),
            "start": {
                "checkpoint": known.get("start", ""),
                "version": known.get("start_version", ""),
            },
            "run": _run(client, version.run_id),
            "outputs": outputs(lock),
            "checkpoint": known.get("checkpoint", ""),
            "generator_sha256": known.get("generator_sha256", ""),
            "measures": [] if evaluation is None else list(evaluation.measures),
            "protocol": {} if evaluation is None else evaluation.protocol,
            "memorisation": "not measured" if evaluation is None else evaluation.memorisation,
            "parent_champion": known.get("parent_champion", ""),
            "decisions": _decisions(uri, version),
        }


def flat(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Nested sections as `section.key` to value."""
    return {
        f"{section}.{key}": value
        for section, keys in sections.items()
        for key, value in (keys or {}).items()
    }


def _changed(params: Mapping[str, Any]) -> dict[str, Any]:
    defaults = flat(Params().dump())
    return {key: value for key, value in params.items() if defaults.get(key) != value}


def _manifest(data: Mapping[str, Any]) -> dict[str, Any]:
    raw = data.get("raw", {})
    keys = ("files", "count", "statuses", "splits", "class_counts")
    found = {key: raw[key] for key in keys if key in raw}
    return {"sha256": data.get("manifest_sha256", ""), **found} if data else {}


def _code(known: Mapping[str, str], patch: Path) -> dict[str, Any]:
    commit, base = known.get("git_commit", ""), known.get("git_base", "")
    text = patch.read_text(encoding="utf-8", errors="replace") if patch.is_file() else ""
    return {"commit": commit, "base": base, "dirty": commit != base, "patch": text}


def _pins(path: Path) -> dict[str, str]:
    """Packages of a requirements.lock: name to version."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    pins = [line.partition("#")[0].strip().partition("==") for line in lines]
    return {name: version for name, equals, version in pins if equals}


def _run(client: MlflowClient, run_id: str | None) -> dict[str, Any] | None:
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    began, ended = run.info.start_time, run.info.end_time
    return {
        "id": run_id,
        "name": run.info.run_name,
        "status": run.info.status,
        "deleted": run.info.lifecycle_stage == "deleted",
        "user": run.data.tags.get("mlflow.user", ""),
        "host": run.data.tags.get(f"{TAG}host", ""),
        "started": _time(began),
        "seconds": None if ended is None else (ended - began) / 1000,
    }


def _decisions(uri: str, version: ModelVersion) -> list[dict[str, Any]]:
    from ganpipe.registry import history

    known: list[dict[str, Any]] = [
        json.loads(json.dumps(each, default=vars)) for each in history(uri, version.name)
    ]
    return [each for each in known if str(version.version) in (each["version"], each["previous"])]


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def _yaml(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return found


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_json(path) if path.is_file() else {}
    return found
