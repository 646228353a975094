"""The way of a run's parameters and lock file back into the checkout."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import yaml

from ganpipe import params as parameters
from ganpipe.errors import GanpipeError
from ganpipe.files import replacing
from ganpipe.lineage.identity import LOCK_FILE, SOURCE
from ganpipe.workspace import git, state_folder, workspaces

ADOPTED = (parameters.PARAMS_FILE, LOCK_FILE, SOURCE)


def find(repo: Path, run_id: str) -> Path:
    """The workspace of a run. Raises GanpipeError that lists the newest runs when there is none."""
    known = workspaces(repo)
    for workspace in known:
        if workspace.name == run_id:
            return workspace
    newest = ", ".join(path.name for path in known[:5])
    hint = f"newest runs: {newest}" if newest else "there is none yet, start one with `ganpipe run`"
    raise GanpipeError(f"no run {run_id!r} below {state_folder(repo) / 'workspaces'}: {hint}")


def adopt(repo: Path, run_id: str, force: bool = False) -> list[str]:
    """Bring a run's params.yaml, dvc.lock and data/source.json into the checkout.

    Returns the files that changed: all of them or, on an error, none. Afterwards `dvc checkout`
    brings the run's outputs. Raises GanpipeError for an unknown or unfinished run, and, unless
    `force`, when a file has edits that are kept nowhere else.
    """
    workspace = find(repo, run_id)
    missing = [name for name in ADOPTED if not (workspace / name).is_file()]
    if missing:
        raise GanpipeError(
            f"run {run_id} has no {' and no '.join(missing)}: it has not finished a stage; "
            f"look at {workspace}"
        )
    if unfinished := _unfinished(workspace):
        raise GanpipeError(
            f"run {run_id} has not finished {', '.join(unfinished)} in {workspace}: start it "
            "again, its finished stages come from the cache, and adopt that run"
        )
    changed = [name for name in ADOPTED if _content(repo / name) != _content(workspace / name)]
    lost = [name for name in changed if not _is_kept(repo, name)]
    if lost and not force:
        raise GanpipeError(
            f"{' and '.join(lost)} in {repo} would lose uncommitted edits: "
            f"commit them, or overwrite them with `ganpipe adopt --force {run_id}`"
        )
    with ExitStack() as stack:
        for name in changed:
            beside = stack.enter_context(replacing(repo / name))
            beside.write_bytes((workspace / name).read_bytes())
    return changed


def _unfinished(workspace: Path) -> list[str]:
    """The stages that dvc.lock does not know, or whose outputs are not there.

    The pinned commit may have brought entries of an earlier run, but never its outputs.
    """
    defined = yaml.safe_load((workspace / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    lock = yaml.safe_load((workspace / LOCK_FILE).read_text(encoding="utf-8"))
    locked = (lock or {}).get("stages", {})
    return [
        name
        for name in defined
        if name not in locked
        or not all((workspace / out["path"]).exists() for out in locked[name].get("outs", []))
    ]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _is_kept(repo: Path, name: str) -> bool:
    """Whether the checkout's file is also in git (committed, pinned or staged) or in a run."""
    content = _content(repo / name)
    if content is None or any(_content(run / name) == content for run in workspaces(repo)):
        return True
    blob = git(repo, "hash-object", "--", name).strip()
    check = git(repo, "cat-file", "--batch-check", text=f"{blob}\n")
    return not check.strip().endswith("missing")
