"""Whether every byte that a version names can be had again."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ganpipe.files import sha256
from ganpipe.lineage import carried, code
from ganpipe.lineage.identity import LOCK_FILE, REQUIREMENTS, SOURCE, outputs
from ganpipe.lineage.store import DAMAGED, WHOLE, Store, opened
from ganpipe.packaging import DESCRIPTION, GENERATOR_TAG, WEIGHTS

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def verify(uri: str, version: ModelVersion, repo: Path, *, thorough: bool = False) -> list[str]:
    """What of a version's bytes cannot be found; empty when all is there.

    Every hash of its dvc.lock is in DVC's cache and matches, else on the remote; the registered
    generator is the lock's; the code is in the repository, or can be made with the patch that
    the version carries. A file in the cache is read once and again only when it has changed, or
    if `thorough`. Raises GanpipeError when MLflow or the remote does not answer.
    """
    from ganpipe.tracking import check

    check(uri)
    try:
        with carried.unpacked(uri, version) as kept, opened(repo, thorough=thorough) as store:
            lock = (kept / LOCK_FILE).read_text(encoding="utf-8")
            problems = _inputs(kept, lock)
            listed = _listed(outputs(lock), store, problems)
            problems += _bytes(listed, store)
            problems += _weights(uri, version, listed)
            if problem := code.problem(repo, version.tags, kept / carried.PATCH):
                problems.append(problem)
            return problems
    except carried.LostError as error:
        return [str(error)]


def _inputs(kept: Path, lock: str) -> list[str]:
    """Files that the version carries and that its dvc.lock names by their md5."""
    named = inputs(lock)
    return [
        f"{name}: the version carries another file than its {LOCK_FILE} names, or none"
        for name in (SOURCE, REQUIREMENTS)
        if name in named and md5(kept / name) != named[name]
    ]


def _listed(outs: dict[str, str], store: Store, problems: list[str]) -> dict[str, str]:
    """Every file of every output, with its md5; lists of files that are lost go to `problems`."""
    files = {}
    for path, wanted in outs.items():
        if not wanted:
            problems.append(
                f"{path}: its {LOCK_FILE} names no md5, so its bytes cannot be looked for"
            )
            continue
        if not wanted.endswith(".dir"):
            files[path] = wanted
            continue
        try:
            files |= {f"{path}/{name}": each for name, each in store.entries(wanted).items()}
        except carried.LostError as error:
            problems.append(f"{path}: its list of files {error}")
    return files


def _bytes(files: dict[str, str], store: Store) -> list[str]:
    states = store.state(set(files.values()))
    problems = []
    for path, wanted in files.items():
        if states[wanted] == DAMAGED:
            place = store.place(wanted)
            problems.append(
                f"{path}: {place} does not hash to its name: delete it and run `dvc fetch`"
                if place.exists()
                else f"{path}: {wanted} {store.remotely} does not hash to its name"
            )
        elif states[wanted] != WHOLE:
            problems.append(f"{path}: {wanted} is neither in the cache nor {store.remotely}")
    return problems


def _weights(uri: str, version: ModelVersion, files: dict[str, str]) -> list[str]:
    """Whether the registered generator is the one that its tag and the run's outputs name."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    problems = []
    source = f"{version.source}/artifacts/generator"
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as temporary:
        for name in (WEIGHTS, DESCRIPTION):
            uri_of_file = f"{source}/{name}"
            try:
                found = Path(
                    download_artifacts(
                        artifact_uri=uri_of_file, dst_path=temporary, tracking_uri=uri
                    )
                )
            except (MlflowException, RequestException, OSError) as error:
                problems.append(f"{uri_of_file} is gone or out of reach: {error}")
                continue
            tagged = version.tags.get(GENERATOR_TAG)
            if name == WEIGHTS and sha256(found) != tagged:
                problems.append(
                    f"{uri_of_file} is damaged: its sha256 is not {tagged}, as the version's tag "
                    f"{GENERATOR_TAG} says"
                )
            wanted = files.get(str(PurePosixPath("model", name)))
            if wanted is not None and md5(found) != wanted:
                problems.append(f"{uri_of_file} is not the model/{name} of its {LOCK_FILE}")
    return problems


def inputs(lock: str) -> dict[str, str]:
    """Single files that the stages of a dvc.lock read: path to md5.

    What lies outside (s3://..., named by its etag) is left out: nothing here can hash it.
    """
    import yaml

    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    deps = [dep for stage in stages.values() for dep in stage.get("deps", [])]
    known = {dep["path"]: dep["md5"] for dep in deps if "md5" in dep}
    return {path: each for path, each in known.items() if not each.endswith(".dir")}


def md5(path: Path) -> str | None:
    """Hexadecimal md5 of a file's bytes, as DVC names them; None when there is no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
