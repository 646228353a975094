"""The code of a version: its commit, or the base commit with the edits that it carries."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ganpipe.errors import GanpipeError
from ganpipe.workspace import Pin, git, pin


def problem(repo: Path, tags: Mapping[str, str], patch: Path) -> str:
    """Why a version's code cannot be had in this repository; empty when it can."""
    commit, base = tags.get("ganpipe.git_commit", ""), tags.get("ganpipe.git_base", "")
    if not commit:
        return "the version has no tag ganpipe.git_commit: nothing tells which code made it"
    if has(repo, commit):
        return ""
    if base == commit:
        return f"commit {commit} is not in {repo}: `git fetch` it from where it was trained"
    if not patch.is_file():
        return (
            f"commit {commit} (uncommitted edits on {base}) is not in {repo}, and the version "
            f"carries no {patch.name}: fetch it from where it was trained, "
            f"`git fetch URL refs/ganpipe/{commit}:refs/ganpipe/{commit}`"
        )
    if not has(repo, base):
        return (
            f"neither commit {commit} nor the commit {base} that its edits lie on is in {repo}: "
            f"`git fetch` {base} from where it was trained"
        )
    return ""


def has(repo: Path, commit: str) -> bool:
    """Whether a commit is in the repository."""
    check = git(repo, "cat-file", "--batch-check", text=f"{commit}^{{commit}}\n")
    return not check.strip().endswith("missing")


def restore(repo: Path, tags: Mapping[str, str], patch: Path) -> Pin:
    """A version's code as a commit of this repository, made from base and patch where it is not.

    Raises GanpipeError that names the commit to fetch, and when the patch is not the one.
    """
    if why := problem(repo, tags, patch):
        raise GanpipeError(why)
    commit, base = tags["ganpipe.git_commit"], tags["ganpipe.git_base"]
    if not has(repo, commit):
        made = _patched(repo, base, patch)
        if made != commit:
            raise GanpipeError(
                f"{base} with the version's {patch.name} gives commit {made}, not {commit}: the "
                f"patch was changed; fetch {commit} from where it was trained"
            )
    return Pin(commit, base, commit != base, [])


def _patched(repo: Path, base: str, patch: Path) -> str:
    """The commit that pinning a checkout of `base` with a patch's edits makes."""
    # the hooks of a user must not run here
    hooks_off = ("-c", f"core.hooksPath={os.devnull}")
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as temporary:
        tree = Path(temporary) / "tree"
        git(repo, *hooks_off, "worktree", "add", "--quiet", "--detach", str(tree), base)
        try:
            git(tree, "apply", "--index", str(patch))
            return pin(tree).commit
        finally:
            git(repo, "worktree", "remove", "--force", str(tree))
