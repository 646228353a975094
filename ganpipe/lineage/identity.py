"""What a run was made of: code, data, parameters and environment."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ganpipe import params as parameters
from ganpipe.compute import cores
from ganpipe.files import read_json, sha256
from ganpipe.workspace import Pin, git

LOCK_FILE = "dvc.lock"
REQUIREMENTS = "requirements.lock"
SOURCE = "data/source.json"
CHECKPOINTS = "checkpoints"
# what may change bytes beside code, data and parameters
ENVIRONMENT = ("python", "torch", "numpy", "platform", "cpu", "cores", "gpu", "threads")


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
        "requirements_sha256": _hash(workspace / REQUIREMENTS),
        "dataset_sha256": _dataset_digest(workspace),
        "start": train.start,
        **environment(train.device, train.threads),
    }


def environment(device: str, threads: int) -> dict[str, Any]:
    """What a training on `device` ("cuda" or another) with `threads` runs on here: ENVIRONMENT."""
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
        "numpy": _version("numpy"),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": cores(),
        "gpu": _gpu_model() if device == "cuda" else None,
        "threads": threads,
    }


def checkpoint(lock: str) -> str | None:
    """The address dvc:<hash>.dir of the checkpoint in the text of a dvc.lock; None without one."""
    found = outputs(lock, "train").get(CHECKPOINTS)
    return f"dvc:{found}" if found else None


def outputs(lock: str, stage: str = "") -> dict[str, str]:
    """Outputs that the text of a dvc.lock names, of one stage or all: path to DVC's hash.

    The hash is the md5 of a file; that of a folder's list of files ends in `.dir`; empty where
    DVC knows an output by something else.
    """
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    chosen = [stages.get(stage, {})] if stage else stages.values()
    return {out["path"]: out.get("md5", "") for each in chosen for out in each.get("outs", [])}


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


def _gpu_model() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def patch(repo: Path, pin: Pin) -> str:
    """The uncommitted edits of a run as a patch that `git apply` takes; empty when none."""
    if not pin.dirty:
        return ""
    return difference(repo, pin.base, pin.commit)


def difference(repo: Path, base: str, commit: str) -> str:
    """From one commit to another as a patch that `git apply` takes."""
    return git(repo, "diff", "--binary", "--no-ext-diff", "--no-color", base, commit)
