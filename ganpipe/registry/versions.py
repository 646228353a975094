"""Versions and aliases of a model in MLflow: what is there, and what a name means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ganpipe import packaging
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous-champion"
MODEL_URI = re.compile(
    r"models:/(?P<name>[^/:@%\"']+)(/(?P<version>\d+)|@(?P<alias>[A-Za-z][\w-]*))"
)
SHORT = re.compile(r"\d+|[A-Za-z][\w-]*", re.ASCII)


def find(uri: str, wanted: str, model: str) -> ModelVersion:
    """The version of `model` that `3` or `champion` (any alias) names; models:/... names its own.

    Raises GanpipeError that names what exists when there is none.
    """
    if wanted.startswith("models:"):
        return named(uri, wanted)
    if SHORT.fullmatch(wanted) is None:
        raise GanpipeError(
            f"{wanted!r} is no version: write 3, champion, models:/NAME/3 or models:/NAME@champion"
        )
    return named(uri, f"models:/{model}{'/' if wanted.isdigit() else '@'}{wanted}")


def named(uri: str, model_uri: str) -> ModelVersion:
    """The version that models:/name@alias or models:/name/3 names.

    Raises GanpipeError that names what exists when there is none.
    """
    from ganpipe.tracking import check, connect, named_outages

    match = MODEL_URI.fullmatch(model_uri)
    if match is None:
        raise GanpipeError(f"{model_uri}: write models:/name@alias or models:/name/3")
    check(uri)
    with named_outages(uri):
        return _version(connect(uri), uri, **match.groupdict())


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


def registered(client: MlflowClient, name: str) -> RegisteredModel | None:
    """The registered model with its tags and aliases; None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def aliases(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias to version. Read from the model: searching versions returns none of them."""
    found = registered(client, name)
    return {alias: str(version) for alias, version in found.aliases.items()} if found else {}


def existing(client: MlflowClient, name: str, version: str) -> ModelVersion | None:
    """A version, None where it does not exist (any more)."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """All versions with their tags, oldest first."""
    found: list[ModelVersion] = []
    page = client.search_model_versions(f"name = '{name}'", order_by=["version_number ASC"])
    while True:
        found += page
        if not page.token:
            return found
        page = client.search_model_versions(
            f"name = '{name}'", order_by=["version_number ASC"], page_token=page.token
        )


def _version(
    client: MlflowClient, uri: str, name: str, version: str | None = None, alias: str | None = None
) -> ModelVersion:
    known = aliases(client, name)
    if alias is not None:
        version = known.get(alias)
    if version is not None and (found := existing(client, name, version)):
        return found
    wanted = f"alias {alias}" if alias is not None else f"version {version}"
    if there := versions(client, name):
        newest = ", ".join(str(each.version) for each in there[-10:])
        exists = newest if len(there) <= 10 else f"1 to {there[-1].version}, of late {newest}"
        called = ", ".join(f"@{key}" for key in sorted(known)) or "none"
        raise GanpipeError(
            f"model {name} at {uri} has no {wanted}: versions {exists}; aliases {called}"
        )
    models = ", ".join(sorted(model.name for model in client.search_registered_models()))
    raise GanpipeError(
        f"there is no model {name} at {uri}: "
        + (
            f"registered are {models}"
            if models
            else "none is registered yet: `ganpipe run` does, or set "
            "MLFLOW_TRACKING_URI to where it is registered"
        )
    )
