"""A version's bytes to the DVC remote, so that another machine can have them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from ganpipe import workspace as workspaces
from ganpipe.errors import GanpipeError
from ganpipe.lineage import carried, code, dvc
from ganpipe.lineage.identity import LOCK_FILE
from ganpipe.lineage.verify import verify
from ganpipe.params import PARAMS_FILE, Params

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def push(uri: str, version: ModelVersion, repo: Path) -> None:
    """Send everything that a version's dvc.lock names from the cache to the remote.

    What is there already is not sent again. Raises GanpipeError with DVC's own message: no
    remote, a remote that does not answer, bytes that the cache does not have.
    """
    from ganpipe.collection import using_cache
    from ganpipe.tracking import check

    check(uri)
    # DVC sends what it has, and calls that a success
    if problems := verify(uri, version, repo):
        raise _incomplete(version, "; ".join(problems[:3]))
    cache = using_cache(workspaces.state_folder(repo))
    with cache, carried.unpacked(uri, version) as kept:
        pin = code.restore(repo, version.tags, kept / carried.PATCH)
        run_id = re.sub(r"[^A-Za-z0-9._-]", "-", f"push-{version.name}-{version.version}")
        # `dvc push` in the checkout sends what the checkout's lock names, which may be anything
        workspace = workspaces.create(repo, pin, Params(), f"{run_id}-{uuid4().hex[:4]}")
        try:
            for name in (PARAMS_FILE, LOCK_FILE):
                shutil.copyfile(kept / name, workspace / name)
            problem = dvc.push(repo, workspace)
        finally:
            shutil.rmtree(workspace)
    if problem:
        raise _incomplete(version, problem)


def _incomplete(version: ModelVersion, why: str) -> GanpipeError:
    return GanpipeError(
        f"{version.name} version {version.version} is not on the DVC remote as a whole: {why}. "
        "`ganpipe init --remote URL` sets a remote, `ganpipe verify` names all that is lost"
    )
