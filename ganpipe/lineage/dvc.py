"""DVC's own commands in a workspace: bytes that a dvc.lock names, and stages."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ganpipe.workspace import environment

# -P: the workspace must not shadow what DVC imports
DVC = (sys.executable, "-P", "-m", "dvc")


def fetch(repo: Path, workspace: Path, *outputs: str) -> str:
    """Bring outputs (none named: all) from the cache, what it lacks from the remote.

    Returns what DVC complains of; empty when all is there.
    """
    env = environment(repo, workspace)
    # `pull` asks the remote even for what is in the cache
    if not _run(workspace, env, "checkout", *outputs):
        return ""
    return _run(workspace, env, "pull", *outputs)


def push(repo: Path, workspace: Path) -> str:
    """Send all outputs to the remote; returns what DVC complains of, empty when all is there."""
    return _run(workspace, environment(repo, workspace), "push")


def repro(workspace: Path, env: Mapping[str, str], *arguments: str) -> int:
    """Run stages, which tell the terminal what they do and end with this process, however it ends.

    Returns the exit code of `dvc repro`.
    """
    supervised = {**env, "GANPIPE_SUPERVISED": "1"}
    command = [*DVC, "repro", *arguments]
    with subprocess.Popen(command, cwd=workspace, env=supervised, stdin=subprocess.PIPE) as process:
        return process.wait()


def complaint(stderr: str) -> str:
    """The errors among what a program said, or else its last word."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [re.sub("^(ERROR|error): ", "", line) for line in lines if line[:5].lower() == "error"]
    return "; ".join(errors or lines[-1:]) or "it said nothing"


def _run(workspace: Path, env: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [*DVC, *arguments],
        cwd=workspace,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else complaint(done.stderr)
