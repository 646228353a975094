"""Model versions: the gate, the aliases candidate, champion and previous-champion, the audit trail.

MLflow's aliases have no history and no compare-and-set, so everything that moves one holds the
lock it is given, writes who, when, from and why as tags first, and reads back afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe import lineage, packaging
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.results import METRICS, read_results
from ganpipe.files import sha256
from ganpipe.gate import Decision, from_tags, gate, to_tags
from ganpipe.params import Params
from ganpipe.tracking import check, connect, description, identity_tags, text, user
from ganpipe.training.start import SCRATCH

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous-champion"
LOCK_SECONDS = 60.0
MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>\d+)|@(?P<alias>[^/@]+))")


@dataclass(frozen=True)
class Registration:
    """A generator in the registry."""

    model: str
    version: str
    alias: str
    """champion or candidate, whichever this version now is."""
    decision: Decision
    reused: bool
    """The version existed already: same generator, same metrics.json, same dvc.lock."""


@contextmanager
def file_lock(state: Path, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """The lock for a registry that one machine uses. Raises GanpipeError when it stays taken."""
    from filelock import FileLock, Timeout

    path = state / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=seconds)
    try:
        lock.acquire()
    except Timeout:
        raise GanpipeError(
            f"another run has held {path} for {seconds:g} s: let it finish, or end it"
        ) from None
    try:
        yield
    finally:
        lock.release()


def register(
    uri: str,
    run_id: str,
    workspace: Path,
    params: Params,
    identity: dict[str, Any],
    lock: AbstractContextManager[Any],
) -> Registration:
    """Make a finished workspace's generator a model version, and champion if the gate says so.

    The same generator with the same metrics.json and dvc.lock is registered once.
    Raises GanpipeError for an unreachable server, missing files, or a report that measured
    another generator.
    """
    weights, metrics_file, lock_file, _ = packaging.required(
        workspace,
        f"model/{packaging.WEIGHTS}",
        f"report/{METRICS}",
        "dvc.lock",
        f"model/{packaging.DESCRIPTION}",
    )
    metrics = read_results(metrics_file.parent)
    fingerprint = {
        "ganpipe.generator_sha256": sha256(weights),
        "ganpipe.metrics_sha256": sha256(metrics_file),
        "ganpipe.dvc_lock_sha256": sha256(lock_file),
    }
    if metrics["generator_sha256"] != fingerprint["ganpipe.generator_sha256"]:
        raise GanpipeError(
            f"{metrics_file} measured another generator than {weights}: run `dvc repro` again"
        )
    check(uri)
    client = connect(uri)
    name = params.registration.model
    with lock:
        version = _find(client, name, fingerprint)
        reused = version is not None
        if version is None:
            tags = identity_tags(identity) | fingerprint | to_tags(metrics)
            tags |= _start_tags(client, lock_file, identity)
            if champion := aliases(client, name).get(CHAMPION):
                tags["ganpipe.parent_champion"] = champion
            version = packaging.create_version(
                client, run_id, workspace, name, tags, description(run_id, metrics)
            )
        client.set_tag(run_id, "ganpipe.model_version", f"models:/{name}/{version}")
        decision = _decide(client, name, version, metrics, params.registration.margin)
        current = aliases(client, name)
        if current.get(CHAMPION) != version:
            client.set_registered_model_alias(name, CANDIDATE, version)
            client.set_model_version_tag(name, version, "ganpipe.gate", text(decision.passed))
            client.set_model_version_tag(name, version, "ganpipe.gate_reason", decision.reason)
            if decision.passed and params.registration.promote == "auto":
                _promote(client, name, version, "gate", decision.reason, decision.numbers)
        alias = CHAMPION if aliases(client, name).get(CHAMPION) == version else CANDIDATE
    return Registration(name, version, alias, decision, reused)


def promote(
    uri: str,
    name: str,
    version: str,
    reason: str,
    numbers: dict[str, float],
    lock: AbstractContextManager[Any],
    by: str = "",
) -> None:
    """Make a version champion on somebody's decision; the champion becomes previous-champion.

    `by` is who decided (default: the user of this process). Raises GanpipeError for an unknown
    model or version, or when the alias is moved by somebody else at the same time.
    """
    check(uri)
    client = connect(uri)
    with lock:
        _version(client, uri, name, version=version)
        _promote(client, name, version, by or user() or "unknown", reason, numbers)


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias to version. Read from the model: searching versions returns none of them."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {alias: str(version) for alias, version in found.items()}


def resolve(uri: str, model_uri: str, cache: Path) -> Path:
    """The folder with generator.json and generator.safetensors that `model_uri` names.

    models:/name@alias, models:/name/3 (downloaded once into `cache`), or a local folder.
    Raises GanpipeError that names what exists when it does not.
    """
    folder = Path(model_uri).expanduser()
    if not model_uri.startswith("models:"):
        if (folder / packaging.DESCRIPTION).is_file():
            return folder
        raise GanpipeError(
            f"{model_uri} is no folder with a {packaging.DESCRIPTION}: name the model/ folder of "
            "a run, models:/ganpipe@champion, or models:/ganpipe/3"
        )
    return packaging.download(uri, named(uri, model_uri), cache)


def named(uri: str, model_uri: str) -> ModelVersion:
    """The version that models:/name@alias or models:/name/3 names.

    Raises GanpipeError that names what exists when there is none.
    """
    match = MODEL_URI.fullmatch(model_uri)
    if match is None:
        raise GanpipeError(f"{model_uri}: write models:/name@alias or models:/name/3")
    check(uri)
    return _version(connect(uri), uri, **match.groupdict())


def _start_tags(client: MlflowClient, lock: Path, identity: dict[str, Any]) -> dict[str, str]:
    """The address of a generator's own checkpoint, and the version whose checkpoint it began as.

    Found by content, so it is known whatever name the run was given.
    """
    tags = {}
    if own := lineage.checkpoint(lock.read_text(encoding="utf-8")):
        tags["ganpipe.checkpoint"] = own
    if (start := str(identity.get("start", SCRATCH))) != SCRATCH:
        where = f"tags.`ganpipe.checkpoint` = '{start}'"
        found = client.search_model_versions(where, max_results=1, order_by=["creation_timestamp"])
        for version in found:
            tags["ganpipe.start_version"] = f"models:/{version.name}/{version.version}"
    return tags


def _promote(
    client: MlflowClient, name: str, version: str, by: str, reason: str, numbers: dict[str, float]
) -> None:
    old = aliases(client, name).get(CHAMPION)
    if old == version:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    audit = {"by": by, "at": now, "from": old or "", "reason": reason, "numbers": text(numbers)}
    for key, value in audit.items():
        client.set_model_version_tag(name, version, f"ganpipe.promoted_{key}", value)
    client.delete_model_version_tag(name, version, "ganpipe.replaced_by")
    if old is not None:
        client.set_model_version_tag(name, old, "ganpipe.replaced_by", version)
        client.set_registered_model_alias(name, PREVIOUS, old)
    # last, so that a kill at any point before leaves the old champion in its place
    client.set_registered_model_alias(name, CHAMPION, version)
    found = aliases(client, name).get(CHAMPION)
    if found != version:
        raise GanpipeError(
            f"{name}@{CHAMPION} became version {found} while version {version} was promoted: "
            "somebody else moved it; look at both and promote again"
        )


def _decide(
    client: MlflowClient, name: str, version: str, metrics: dict[str, Any], margin: float
) -> Decision:
    champion = aliases(client, name).get(CHAMPION)
    if champion == version:
        return Decision(True, "it is the champion already")
    replaced_by = client.get_model_version(name, version).tags.get("ganpipe.replaced_by")
    if replaced_by:
        # otherwise a cached run would undo somebody's rollback
        reason = f"it was champion until version {replaced_by} replaced it: promote it by hand"
        return Decision(False, reason)
    if champion is None:
        return gate(metrics, None, margin)
    theirs = from_tags(client.get_model_version(name, champion).tags)
    if theirs is None:
        reason = f"champion version {champion} has no ganpipe tags to compare with: promote by hand"
        return Decision(False, reason)
    return gate(metrics, theirs, margin)


def _find(client: MlflowClient, name: str, fingerprint: dict[str, str]) -> str | None:
    where = [f"name = '{name}'"] + [f"tags.`{key}` = '{fingerprint[key]}'" for key in fingerprint]
    found = client.search_model_versions(" AND ".join(where), order_by=["version_number DESC"])
    return next((str(each.version) for each in found if each.status == "READY"), None)


def _version(
    client: MlflowClient, uri: str, name: str, version: str | None = None, alias: str | None = None
) -> ModelVersion:
    from mlflow.exceptions import MlflowException

    known = aliases(client, name)
    if alias is not None:
        version = known.get(alias)
    try:
        if version is not None:
            return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    wanted = f"alias {alias}" if alias is not None else f"version {version}"
    versions = sorted(int(v.version) for v in client.search_model_versions(f"name = '{name}'"))
    if versions:
        exists = ", ".join(map(str, versions))
        called = ", ".join(f"@{key}" for key in sorted(known)) or "none"
        raise GanpipeError(
            f"model {name} at {uri} has no {wanted}: versions {exists}; aliases {called}"
        )
    models = ", ".join(sorted(model.name for model in client.search_registered_models()))
    raise GanpipeError(
        f"there is no model {name} at {uri}: "
        + (f"registered are {models}" if models else "none is registered yet, `ganpipe run` does")
    )
