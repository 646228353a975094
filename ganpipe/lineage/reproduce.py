"""A version turned back into a workspace: its bytes fetched, or every stage computed anew."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import yaml

from ganpipe import workspace as workspaces
from ganpipe.errors import GanpipeError
from ganpipe.lineage import carried, code, dvc
from ganpipe.lineage.comparison import Output, compare, reasons
from ganpipe.lineage.identity import LOCK_FILE, SOURCE, environment, outputs
from ganpipe.lineage.store import Store, opened
from ganpipe.params import PARAMS_FILE, Params

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

OWN = ".ganpipe"  # of a workspace that computes anew: its cache and state, which begin empty
DOWNLOADS = "downloads"
DAMAGED = "DVC's cache is damaged: `ganpipe verify --thorough` names the files to delete"
CHECKPOINT = re.compile(r"dvc:([0-9a-f]{32}\.dir)")


@dataclass(frozen=True)
class Reproduction:
    """A version's workspace, and how its outputs compare with what was registered."""

    workspace: Path
    outputs: list[Output]
    reasons: list[str]
    """Why outputs may differ; empty when none does."""

    @property
    def identical(self) -> bool:
        return all(each.identical for each in self.outputs)


def reproduce(
    uri: str, version: ModelVersion, repo: Path, *, from_scratch: bool = False
) -> Reproduction:
    """Make a workspace with a version's code, params.yaml, dvc.lock and data/source.json.

    Its outputs come from DVC's cache, else from the remote; `from_scratch` computes every stage
    instead, with an empty cache and no exact state of an earlier training: only the checkpoint
    that training started from and files that a source downloaded are taken as they are.

    Raises GanpipeError when code or bytes cannot be had, when the source holds other images than
    then (before any work), and when a stage fails.
    """
    from ganpipe.collection import using_cache
    from ganpipe.tracking import check

    check(uri)
    cache = using_cache(workspaces.state_folder(repo))
    with cache, carried.unpacked(uri, version) as kept, opened(repo) as store:
        pin = code.restore(repo, version.tags, kept / carried.PATCH)
        run_id = f"{version.name}-{version.version}-{time.strftime('%Y%m%d-%H%M%S')}"
        run_id = re.sub(r"[^A-Za-z0-9._-]", "-", f"reproduce-{run_id}-{uuid4().hex[:4]}")
        # the version's own parameters may be none that this code knows
        workspace = workspaces.create(repo, pin, Params(), run_id)
        try:
            for name in (PARAMS_FILE, LOCK_FILE, SOURCE):
                if (kept / name).is_file():
                    (workspace / name).parent.mkdir(exist_ok=True)
                    shutil.copyfile(kept / name, workspace / name)
            wanted = outputs((kept / LOCK_FILE).read_text(encoding="utf-8"))
            if from_scratch:
                _prepare(repo, workspace, store, version.tags)
            else:
                _fetch(repo, workspace)
        except BaseException:
            shutil.rmtree(workspace)  # nothing in it that looks like a version
            raise
        if from_scratch:
            _compute(repo, workspace)
        found = compare(workspace, wanted, store)
    why = []
    if not all(each.identical for each in found):
        why = _reasons(version, workspace) if from_scratch else [DAMAGED]
    return Reproduction(workspace, found, why)


def _fetch(repo: Path, workspace: Path) -> None:
    if problem := dvc.fetch(repo, workspace):
        raise GanpipeError(
            f"not all of this version's bytes can be had: {problem}. Run `ganpipe push` where it "
            "was trained and set that remote here (`ganpipe init --remote URL`), or compute them "
            "anew with --from-scratch; `ganpipe verify` names what is lost"
        )


def _prepare(repo: Path, workspace: Path, store: Store, tags: Mapping[str, str]) -> None:
    """An empty cache and state, no lock, and a source that holds what it held then."""
    own = workspace / OWN
    (own / "cache").mkdir(parents=True)
    workspaces.configure_dvc(repo, workspace, {"cache": {"dir": str(own / "cache")}})
    (workspace / LOCK_FILE).unlink()
    downloads = workspaces.state_folder(repo) / DOWNLOADS
    downloads.mkdir(parents=True, exist_ok=True)
    (own / DOWNLOADS).symlink_to(downloads)  # checked by their checksums
    if start := CHECKPOINT.fullmatch(tags.get("ganpipe.start", "")):
        store.lend(start[1], own / "cache")
    if (workspace / SOURCE).is_file():
        _check_source(repo, workspace)


def _check_source(repo: Path, workspace: Path) -> None:
    """Look at the source with the version's own code. Raises GanpipeError when it has changed."""
    then = (workspace / SOURCE).read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "ganpipe", "refresh"],
        cwd=workspace,
        env=_environment(repo, workspace),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise GanpipeError(
            "the images that this version was made of cannot be looked at: "
            f"{dvc.complaint(done.stderr)}"
        )
    now = (workspace / SOURCE).read_bytes()
    if now != then:
        was, is_ = json.loads(then), json.loads(now)
        raise GanpipeError(
            f"the source {is_['source']} has changed: this version was made of {was['count']} "
            f"files, {was['bytes']} bytes (digest {was['digest'][:12]}), now there are "
            f"{is_['count']}, {is_['bytes']} bytes (digest {is_['digest'][:12]}): bring them back, "
            "or leave out --from-scratch to take the bytes that DVC keeps"
        )


def _environment(repo: Path, workspace: Path) -> dict[str, str]:
    own = workspace / OWN
    env = workspaces.environment(repo, workspace)
    return env | {workspaces.STATE_VARIABLE: str(own), "DVC_SITE_CACHE_DIR": str(own / "dvc")}


def _compute(repo: Path, workspace: Path) -> None:
    code = dvc.repro(workspace, _environment(repo, workspace), "--no-run-cache")
    if code != 0:
        raise GanpipeError(
            f"a stage failed in {workspace} (`dvc repro` ended with {code}): see above; what was "
            "finished stays there"
        )


def _reasons(version: ModelVersion, workspace: Path) -> list[str]:
    """Why bytes that were computed anew may differ."""
    # as text: the version's own parameters may be none that this code knows
    values = yaml.safe_load((workspace / PARAMS_FILE).read_text(encoding="utf-8")) or {}
    train = values.get("train") or {}
    return reasons(version.tags, environment(train.get("device", ""), train.get("threads", 0)))
