"""What train.start names: a checkpoint's name becomes the hash of its bytes, the hash a folder.

DVC keeps the bytes. It is asked in a repository of its own, which exists for one command and
has the cache and the remotes of the real one: so no file of the user's tree is touched, and no
lock of a `dvc repro` around it is waited for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from ganpipe import lineage, workspace
from ganpipe.errors import GanpipeError
from ganpipe.files import replacing_folder, sha256
from ganpipe.params import Params
from ganpipe.training.start import DESCRIPTION, SCRATCH, TENSORS, read

ADDRESS = re.compile(r"(?:dvc:)?(?P<hash>[0-9a-f]{32}\.dir)")
FOLDER = "checkpoint"


def resolve(params: Params, repo: Path) -> Params:
    """The parameters with train.start as a content address, as `auto` becomes what it means."""
    start = address(params.train.start, repo)
    return params.model_copy(update={"train": params.train.model_copy(update={"start": start})})


def address(start: str, repo: Path) -> str:
    """`scratch`, or the address dvc:<hash>.dir of the checkpoint that `start` names.

    A name is models:/NAME/VERSION, models:/NAME@ALIAS, a run, its folder, or a folder with
    state.json, whose files are put into DVC's cache; a relative one lies below the repository.
    Raises GanpipeError that says what is possible when it names none.
    """
    if start == SCRATCH:
        return SCRATCH
    if known := ADDRESS.fullmatch(start):
        return f"dvc:{known['hash']}"
    if start.startswith("models:"):
        return _of_version(start, repo)
    runs = {each.name: each for each in workspace.workspaces(repo)}
    folder = runs.get(start, repo / Path(start).expanduser())
    if (folder / DESCRIPTION).is_file():
        return store(folder, repo)
    if (folder / lineage.LOCK_FILE).is_file():
        return _of_run(folder)
    newest = ", ".join(list(runs)[:5]) or "there is none yet"
    raise GanpipeError(
        f"train.start={start} names no checkpoint: write scratch, models:/NAME/VERSION, "
        f"models:/NAME@ALIAS, a run (newest: {newest}), a folder with {DESCRIPTION}, "
        "or dvc:<hash>.dir"
    )


def _of_version(model_uri: str, repo: Path) -> str:
    """What the dvc.lock says that is kept with a model version."""
    from ganpipe import registry, tracking

    uri = tracking.tracking_uri(workspace.state_folder(repo))
    version = registry.named(uri, model_uri)
    import mlflow.artifacts  # only now does it read ganpipe's settings
    from mlflow.exceptions import MlflowException

    source = f"{version.source}/lineage/{lineage.LOCK_FILE}"
    try:
        with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
            kept = Path(
                mlflow.artifacts.download_artifacts(
                    artifact_uri=source, dst_path=folder, tracking_uri=uri
                )
            )
            if sha256(kept) != version.tags.get("ganpipe.dvc_lock_sha256"):
                raise GanpipeError(f"{source} at {uri} is not the file that was registered")
            found = lineage.checkpoint(kept.read_text(encoding="utf-8"))
    except (MlflowException, OSError) as error:
        raise GanpipeError(
            f"train.start={model_uri}: {source} at {uri} is gone or out of reach: {error}"
        ) from error
    if found is None:
        raise GanpipeError(f"train.start={model_uri}: its dvc.lock names no checkpoint")
    return found


def _of_run(folder: Path) -> str:
    found = lineage.checkpoint((folder / lineage.LOCK_FILE).read_text(encoding="utf-8"))
    # the pinned commit may have brought the lock of an earlier run, but never its outputs
    if found is None or not (folder / lineage.CHECKPOINTS).is_dir():
        raise GanpipeError(f"the run in {folder} has not finished the stage train: start it again")
    return found


def store(folder: Path, repo: Path) -> str:
    """Put a checkpoint folder's two files into DVC's cache; returns their address."""
    read(folder)
    state = workspace.state_folder(repo)
    state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".start.", suffix=".partial", dir=state) as temporary:
        beside = Path(temporary)
        _make_repository(repo, beside)
        (beside / FOLDER).mkdir()
        for name in (TENSORS, DESCRIPTION):
            shutil.copyfile(folder / name, beside / FOLDER / name)
        if problem := _dvc(beside, "add", FOLDER):
            raise GanpipeError(f"DVC cannot take {folder} into its cache: {problem}")
        added = yaml.safe_load((beside / f"{FOLDER}.dvc").read_text(encoding="utf-8"))
    return f"dvc:{added['outs'][0]['md5']}"


def fetch(start: str, root: Path, output: Path) -> dict[str, Any]:
    """Write the checkpoint with the address `start` to `output`: from DVC's cache, else a remote.

    Returns what its state.json says.
    Raises GanpipeError when it is in neither, or is no checkpoint.
    """
    known = ADDRESS.fullmatch(start)
    if known is None:
        raise ValueError(f"{start} is no address of a checkpoint")
    with replacing_folder(output) as beside:
        _make_repository(root, beside)
        tracked = {"outs": [{"md5": known["hash"], "hash": "md5", "path": FOLDER}]}
        (beside / f"{FOLDER}.dvc").write_text(yaml.safe_dump(tracked), encoding="utf-8")
        # `pull` asks the remote even for what is in the cache
        if _dvc(beside, "checkout") and (problem := _dvc(beside, "pull")):
            raise GanpipeError(
                f"the checkpoint train.start={start} is neither in DVC's cache nor to be had from "
                f"a DVC remote ({problem}): run `dvc push` where it was trained and set that "
                "remote here (`ganpipe init --remote`), or bring its folder here and set "
                "train.start to that"
            )
        for path in list((beside / FOLDER).iterdir()):
            path.rename(beside / path.name)
        shutil.rmtree(beside / ".dvc")
        (beside / f"{FOLDER}.dvc").unlink()
        (beside / FOLDER).rmdir()
        return read(beside)


def _make_repository(real: Path, folder: Path) -> None:
    """Make the folder a DVC repository with the cache, remotes and settings of the real one."""
    real = real.resolve()  # what is relative in its settings must not become relative to here
    (folder / ".dvc").mkdir()
    tracked = real / ".dvc" / "config"
    if tracked.is_file():
        shutil.copyfile(tracked, folder / ".dvc" / "config")
    workspace.configure_dvc(real, folder, {"core": {"no_scm": True}})


def _dvc(folder: Path, *arguments: str) -> str:
    """Run DVC; returns what it complains of, empty when all went well."""
    # DVC keeps notes on each repository, which must go with it
    env = os.environ | {
        "DVC_SITE_CACHE_DIR": str(folder.resolve() / ".dvc" / "site"),
        "DVC_NO_ANALYTICS": "1",
    }
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return "; ".join(errors or lines[-1:]) or f"`dvc {arguments[0]}` ended with {done.returncode}"
