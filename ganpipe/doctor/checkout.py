"""The repository, its parameters and the images that they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ganpipe import params as parameters
from ganpipe import workspace
from ganpipe.doctor.check import Check
from ganpipe.errors import GanpipeError


def git(repo: Path, problem: str) -> Iterator[Check]:
    """The commit and uncommitted edits; `problem` says why there is no repository."""
    if problem:
        yield Check("git", "fail", "no usable repository", problem)
        return
    commit = workspace.git(repo, "rev-parse", "--short", "HEAD").strip()
    changed = len(workspace.git(repo, "status", "--porcelain").splitlines())
    yield Check(
        "git",
        "warn" if changed else "ok",
        f"{repo} at {commit}" + (f", {changed} uncommitted files" if changed else ", clean"),
        "runs pin uncommitted edits as a commit of their own; commit what should stay"
        if changed
        else "",
    )


def params(repo: Path) -> Iterator[Check]:
    """Whether params.yaml is valid."""
    try:
        params = parameters.load(repo / parameters.PARAMS_FILE)
    except GanpipeError as error:
        yield Check("params.yaml", "fail", "not usable", str(error))
    else:
        yield Check(
            "params.yaml", "ok", f"{params.data.source}, {params.train.kimg:g} thousand images"
        )


def data(repo: Path) -> Iterator[Check]:
    """Whether the source of images that params.yaml names is there. Fetches nothing."""
    from ganpipe.data.sources import make_source
    from ganpipe.data.sources.downloads import OFFLINE

    data = parameters.load(repo / parameters.PARAMS_FILE).data.anchored(repo)
    name = f"{data.source} {data.path}".strip()
    if "://" in data.path and not data.path.startswith("file://"):
        yield Check("images", "ok", f"{name}: not asked, listing may take long")
        return
    settings = {OFFLINE: "1", "GANPIPE_STATE": str(workspace.state_folder(repo))}
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        found = make_source(data).fingerprint()
    except GanpipeError as error:
        remedy = f"{error} (where it can be downloaded, the first run does it)"
        downloadable = OFFLINE in str(error)
        yield Check(
            "images",
            "warn" if downloadable else "fail",
            f"{name}: not here",
            remedy if downloadable else str(error),
        )
    else:
        size = found["bytes"] / 1e6
        yield Check("images", "ok", f"{name}: {found['count']} files, {size:,.1f} MB")
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value
