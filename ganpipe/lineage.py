"""What a run was made of, and the way of its parameters and lock file back into the checkout."""

from __future__ import annotations

import platform
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ganpipe import params as parameters
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json, replacing, sha256
from ganpipe.workspace import Pin, git, state_folder, workspaces

LOCK_FILE = "dvc.lock"
CHECKPOINTS = "checkpoints"
ADOPTED = (parameters.PARAMS_FILE, LOCK_FILE, "data/source.json")


def identity(workspace: Path, pin: Pin) -> dict[str, Any]:
    """Identity of code, data, parameters and environment of a run, as flat JSON values.

    Hashes are hexadecimal sha256 of files' bytes; None where the file does not exist (yet).
    """
    train = parameters.load(workspace / parameters.PARAMS_FILE).train
    return {
        "git_commit": pin.commit,
        "git_base": pin.base,
        "git_dirty": pin.dirty,
        "dvc_lock_sha256": _hash(workspace / LOCK_FILE),
        "params_sha256": _hash(workspace / parameters.PARAMS_FILE),
        "requirements_sha256": _hash(workspace / "requirements.lock"),
        "dataset_sha256": _dataset_digest(workspace),
        "start": train.start,
        "python": platform.python_version(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "threads": train.threads,
    }


def checkpoint(lock: str) -> str | None:
    """The address dvc:<hash>.dir of the checkpoint in the text of a dvc.lock; None without one."""
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    for out in stages.get("train", {}).get("outs", []):
        if out["path"] == CHECKPOINTS:
            return f"dvc:{out['md5']}"
    return None


def _hash(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None


def _dataset_digest(workspace: Path) -> str | None:
    description = workspace / "data" / "train" / "dataset.json"
    return str(read_json(description)["sha256"]) if description.is_file() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def patch(repo: Path, pin: Pin) -> str:
    """The uncommitted edits of a run as a patch that `git apply` takes; empty when none."""
    if not pin.dirty:
        return ""
    return git(repo, "diff", "--binary", "--no-ext-diff", "--no-color", pin.base, pin.commit)


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
