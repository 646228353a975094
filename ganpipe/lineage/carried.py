"""The files that a registered version carries below lineage/: enough without its MLflow run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, sha256, write_json
from ganpipe.lineage.identity import LOCK_FILE, REQUIREMENTS, SOURCE, difference
from ganpipe.params import PARAMS_FILE

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

FILES = (PARAMS_FILE, LOCK_FILE, REQUIREMENTS, SOURCE)
DATA, PATCH, REPORT = "data.json", "uncommitted.patch", "report"
# the file, and the tag with its sha256
SIGNED = {LOCK_FILE: "ganpipe.dvc_lock_sha256", PARAMS_FILE: "ganpipe.params_sha256"}


class LostError(GanpipeError):
    """Something that a version is made of is gone, was changed, or was never kept."""


def pack(workspace: Path, folder: Path, base: str = "", commit: str = "") -> None:
    """Write what a version of a finished workspace must carry into `folder`, which is made.

    params.yaml, dvc.lock, requirements.lock, data/source.json and report/ as they are; data.json:
    what was ingested (raw.json), the manifest's sha256, both data sets; uncommitted.patch: from
    `base` to the workspace's `commit`, where they differ. What a pipeline of the user's own
    does not have is left out.
    """
    folder.mkdir(parents=True)
    for name in FILES:
        if (workspace / name).is_file():
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy2(workspace / name, folder / name)
    if (workspace / REPORT).is_dir():
        shutil.copytree(workspace / REPORT, folder / REPORT)
    if data := _data(workspace / "data"):
        write_json(folder / DATA, data)
    if base and base != commit:
        text = difference(workspace, base, commit)
        (folder / PATCH).write_bytes(text.encode("utf-8", "surrogateescape"))


def _data(folder: Path) -> dict[str, Any]:
    places = {"raw": "raw/raw.json", "train": "train/dataset.json", "test": "test/dataset.json"}
    found = {
        key: read_json(folder / place)
        for key, place in places.items()
        if (folder / place).is_file()
    }
    if (manifest := folder / "raw" / "manifest.parquet").is_file():
        found["manifest_sha256"] = sha256(manifest)
    return found


@contextmanager
def unpacked(uri: str, version: ModelVersion) -> Iterator[Path]:
    """A temporary folder with what a version carries, its dvc.lock and params.yaml checked.

    Raises LostError for a version without lineage, and when the files are gone or changed.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    who = f"model {version.name} version {version.version}"
    if SIGNED[LOCK_FILE] not in version.tags:
        raise LostError(
            f"{who} has no lineage: it was not registered by ganpipe, so nothing tells what it "
            "was made of"
        )
    source = f"{version.source}/lineage"
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as temporary:
        try:
            found = download_artifacts(artifact_uri=source, dst_path=temporary, tracking_uri=uri)
        except (MlflowException, RequestException, OSError) as error:
            raise LostError(
                f"the lineage of {who} is gone or out of reach ({source} at {uri}): {error}"
            ) from error
        folder = Path(found)
        for name, tag in SIGNED.items():
            wanted = version.tags.get(tag)
            there = sha256(folder / name) if (folder / name).is_file() else "missing"
            if wanted not in (None, there):
                raise LostError(
                    f"{source}/{name} at {uri} is not the file that was registered: its sha256 is "
                    f"{there}, the version's tag {tag} says {wanted}"
                )
        yield folder
