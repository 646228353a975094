"""A generator as an MLflow model: safetensors, JSON and code, with its lineage; never a pickle."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing_folder, sha256
from ganpipe.params import PARAMS_FILE

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature

WEIGHTS, DESCRIPTION = "generator.safetensors", "generator.json"
GENERATOR = "generator"
LINEAGE_FILES = (PARAMS_FILE, "dvc.lock", "requirements.lock")
# what the packaged code imports to make images; no more of ganpipe's own requirements
REQUIREMENTS = ("mlflow", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "torch")
GENERATOR_TAG = "ganpipe.generator_sha256"  # of a version: sha256 of its weights


def create_version(
    client: MlflowClient,
    run_id: str,
    workspace: Path,
    name: str,
    tags: dict[str, str],
    description: str,
) -> str:
    """Log a workspace's generator as a model of a run and register it; returns its version.

    Through the client rather than `mlflow.pyfunc.log_model`, which would redirect the whole
    process to this tracking server and print what it does.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    run = client.get_run(run_id)
    logged = client.create_logged_model(
        run.info.experiment_id,
        name=GENERATOR,
        source_run_id=run_id,
        tags=tags,
        params=dict(run.data.params),
        model_type="generator",
    )
    status: Literal["READY", "FAILED"] = "FAILED"
    try:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
        model = Model(
            artifact_path=logged.artifact_location,
            model_uuid=logged.model_id,
            run_id=run_id,
            model_id=logged.model_id,
        )
        with tempfile.TemporaryDirectory(prefix="ganpipe-") as temporary:
            folder = Path(temporary) / "model"
            package(
                workspace,
                folder,
                model,
                base=tags.get("ganpipe.git_base", ""),
                commit=tags.get("ganpipe.git_commit", ""),
            )
            client.log_model_artifacts(logged.model_id, str(folder))
        status = "READY"
    finally:
        client.finalize_logged_model(logged.model_id, status)
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        name,
        # not models:/<id>, which MLflow's SQL store looks up on the process-wide server
        source=logged.artifact_location,
        run_id=run_id,
        tags=tags,
        description=description,
        model_id=logged.model_id,
    )
    # the link from the model's page to its version, as MLflow's own register_model writes it
    link = json.dumps([{"name": name, "version": version.version}])
    client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": link})
    return str(version.version)


def package(
    workspace: Path, folder: Path, model: Any = None, *, base: str = "", commit: str = ""
) -> None:
    """Write a workspace's generator into a new folder as an MLflow pyfunc from code.

    It carries the generator, the ganpipe code that trained it (the workspace's own, else the
    code that runs) and, under lineage/, what it came from.
    """
    import mlflow.pyfunc

    from ganpipe.lineage.carried import pack

    code = workspace / "ganpipe"
    if not code.is_dir():
        code = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as temporary:
        generator = Path(temporary) / GENERATOR
        generator.mkdir()
        for name in (WEIGHTS, DESCRIPTION):
            shutil.copy2(workspace / "model" / name, generator / name)
        with warnings.catch_warnings():
            # a generator has no input, so there is no example of one
            warnings.filterwarnings("ignore", message=".*input example was not provided.*")
            mlflow.pyfunc.save_model(
                folder,
                python_model=str(code / "served_model.py"),
                code_paths=[str(code)],
                artifacts={GENERATOR: str(generator)},
                signature=signature(read_json(generator / DESCRIPTION)),
                model_config={"generator_sha256": sha256(generator / WEIGHTS)},
                pip_requirements=[f"{name}=={_release(name)}" for name in REQUIREMENTS],
                mlflow_model=model,
            )
    pack(workspace, folder / "lineage", base, commit)
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def signature(description: dict[str, Any]) -> ModelSignature:
    """Parameters n, seed, label (-1: any), truncation (1: none); uint8 images [n, H, W, C]."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    shape = (-1, description["height"], description["width"], description["channels"])
    return ModelSignature(
        outputs=Schema([TensorSpec(np.dtype("uint8"), shape, name=None)]),
        params=ParamSchema(
            [
                ParamSpec("n", "long", 1),
                ParamSpec("seed", "long", 0),
                ParamSpec("label", "long", -1),
                ParamSpec("truncation", "double", 1.0),
            ]
        ),
    )


def _release(name: str) -> str:
    """The installed version without a build label such as +cpu, which no index may know."""
    return importlib.metadata.version(name).partition("+")[0]


def required(workspace: Path, *names: str) -> list[Path]:
    """Files of a workspace. Raises GanpipeError that names the missing ones."""
    missing = [name for name in names if not (workspace / name).is_file()]
    if missing:
        raise GanpipeError(
            f"{workspace} lacks {', '.join(missing)}: run its stages with `dvc repro` first"
        )
    return [workspace / name for name in names]


def download(uri: str, version: ModelVersion, cache: Path) -> Path:
    """The folder under `cache` with a version's generator, downloaded once, sha256 checked.

    Raises GanpipeError when the files are gone, damaged, or not ganpipe's.
    """
    import mlflow.artifacts
    from filelock import FileLock
    from mlflow.exceptions import MlflowException

    digest = version.tags.get(GENERATOR_TAG)
    if digest is None:
        raise GanpipeError(
            f"model {version.name} version {version.version} was not registered by ganpipe"
        )
    if not re.fullmatch("[0-9a-f]{64}", digest):
        # the server says it, and it names a folder that may be replaced
        raise GanpipeError(
            f"model {version.name} version {version.version} at {uri} has the tag "
            f"{GENERATOR_TAG}={digest!r}, which is no sha256: somebody changed it"
        )
    folder = cache / digest
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "download.lock"):
        weights = folder / WEIGHTS
        whole = weights.is_file() and (folder / DESCRIPTION).is_file()
        if whole and sha256(weights) == digest:
            return folder
        source = f"{version.source}/artifacts/{GENERATOR}"
        try:
            with replacing_folder(folder) as beside:
                for name in (WEIGHTS, DESCRIPTION):
                    mlflow.artifacts.download_artifacts(
                        artifact_uri=f"{source}/{name}", dst_path=str(beside), tracking_uri=uri
                    )
                if sha256(beside / WEIGHTS) != digest:
                    raise GanpipeError(
                        f"model {version.name} version {version.version} is damaged: its sha256 "
                        f"is not {digest} ({source} at {uri})"
                    )
        except (MlflowException, OSError) as error:
            raise GanpipeError(
                f"the files of model {version.name} version {version.version} are gone or out of "
                f"reach ({source} at {uri}): {error}"
            ) from error
    return folder
