"""An isolated checkout for each run: pinned code, its own parameters, the shared DVC cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganpipe import params as parameters
from ganpipe.errors import GanpipeError
from ganpipe.params import Params

STATE_FOLDER = ".ganpipe"
STATE_VARIABLE = "GANPIPE_STATE"
MAX_PINNED_BYTES = 1_000_000
# new files are pinned only below these: what a run can need, and nothing that lies about
SOURCE_PATHS = (
    *("ganpipe", "flows", "infra", "tests", "params.yaml", "dvc.yaml", "dvc.lock"),
    *("pyproject.toml", "requirements.lock", "Makefile", "README.md", "data/source.json"),
)
OUTPUT_FOLDERS = ("data", "model", "checkpoints", "report", STATE_FOLDER)
# `git rev-parse --local-env-vars`: a hook sets them, and they would redirect every git below it
GIT_VARIABLES = (
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CONFIG", "GIT_CONFIG_PARAMETERS"),
    *("GIT_CONFIG_COUNT", "GIT_OBJECT_DIRECTORY", "GIT_DIR", "GIT_WORK_TREE"),
    *("GIT_IMPLICIT_WORK_TREE", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS"),
    *("GIT_REPLACE_REF_BASE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_COMMON_DIR"),
)


@dataclass(frozen=True)
class Pin:
    """The code of a run: `commit` holds HEAD (`base`) and, when `dirty`, the uncommitted edits."""

    commit: str
    base: str
    dirty: bool
    left_out: list[str]

    def message(self) -> str:
        """One line for the user, empty when the tree is clean and nothing was left out."""
        parts = []
        if self.dirty:
            parts.append(f"uncommitted edits pinned as commit {self.commit[:10]}")
        if self.left_out:
            shown = ", ".join(self.left_out[:5])
            more = len(self.left_out) - 5
            parts.append(f"left out: {shown}" + (f" and {more} more" if more > 0 else ""))
        return "; ".join(parts)


def git(
    folder: Path, *arguments: str, text: str = "", variables: Mapping[str, str] | None = None
) -> str:
    """Run git in `folder` and return its output. Raises GanpipeError with git's own message."""
    env = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    env |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **(variables or {})}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=env,
            input=text.encode("utf-8", "surrogateescape"),
            capture_output=True,
        )
    except FileNotFoundError as error:
        if error.filename != "git":
            raise
        raise GanpipeError(
            "git is not installed, and every run is pinned to a commit: "
            "install it (Debian: `apt-get install git`)"
        ) from None
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip()
        raise GanpipeError(f"`git {arguments[0]}` failed in {folder}: {message}")
    return done.stdout.decode("utf-8", "surrogateescape")


def repository(start: Path | None = None) -> Path:
    """The top folder of the git repository around `start` (default: the current folder).

    Raises GanpipeError when git is missing, there is no repository, or it has no commit.
    """
    start = start or Path.cwd()
    try:
        top = Path(git(start, "rev-parse", "--show-toplevel").removesuffix("\n"))
    except GanpipeError as error:
        if "not a git repository" not in str(error):
            raise
        raise GanpipeError(
            f"{start} is not in a git repository, and every run is pinned to a commit: "
            "change to ganpipe's folder, or make it one with "
            "`git init && git add . && git commit -m start`"
        ) from None
    try:
        git(top, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except GanpipeError:
        raise GanpipeError(
            f"the git repository {top} has no commit yet: make one with "
            "`git add . && git commit -m start`"
        ) from None
    return top


def state_folder(repo: Path) -> Path:
    """Absolute folder of all local state: $GANPIPE_STATE, else .ganpipe in the repository."""
    return Path(os.path.abspath(os.environ.get(STATE_VARIABLE) or repo / STATE_FOLDER))  # noqa: PTH100


def pin(repo: Path) -> Pin:
    """Make a commit of the repository as it lies there, touching no branch, index or file.

    Equal trees on an equal HEAD give equal commits. A ref keeps the commit from collection.
    """
    base = git(repo, "rev-parse", "HEAD").strip()
    tracked = _paths(git(repo, "diff", "--name-only", "--no-renames", "-z", "HEAD"))
    untracked = _paths(git(repo, "ls-files", "--others", "--exclude-standard", "-z"))
    new = [path for path in untracked if _is_source(path)]
    left_out = {path.partition("/")[0] for path in untracked if not _is_source(path)}
    left_out |= {path for path in tracked + new if not _may_be_pinned(repo, path)}
    kept = [path for path in tracked + new if path not in left_out]
    commit = _commit(repo, base, kept) if kept else base
    git(repo, "update-ref", f"refs/ganpipe/{commit}", commit)
    return Pin(commit, base, commit != base, sorted(left_out))


def _paths(output: str) -> list[str]:
    return [path for path in output.split("\0") if path]


def _is_source(path: str) -> bool:
    return any(path == known or path.startswith(f"{known}/") for known in SOURCE_PATHS)


def _may_be_pinned(repo: Path, path: str) -> bool:
    if Path(path).name.startswith(".env"):
        return False
    if path.partition("/")[0] in OUTPUT_FOLDERS and path not in SOURCE_PATHS:
        return False
    file = repo / path
    return not os.path.lexists(file) or file.lstat().st_size <= MAX_PINNED_BYTES


def _commit(repo: Path, base: str, paths: list[str]) -> str:
    with tempfile.TemporaryDirectory(prefix="ganpipe-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git(repo, "read-tree", base, variables=index)
        listing = "".join(f"{path}\0" for path in paths)
        update = ("update-index", "--add", "--remove", "-z", "--stdin")
        git(repo, *update, text=listing, variables=index)
        tree = git(repo, "write-tree", variables=index).strip()
    if tree == git(repo, "rev-parse", f"{base}^{{tree}}").strip():
        return base
    date = git(repo, "show", "--no-patch", "--format=@%ct +0000", base).strip()
    who = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "ganpipe"), ("EMAIL", "ganpipe@localhost"), ("DATE", date))
    }
    message = f"Uncommitted edits on {base[:10]}"
    return git(repo, "commit-tree", tree, "-p", base, "-m", message, variables=who).strip()


def workspaces(repo: Path) -> list[Path]:
    """The runs' workspaces, newest first."""
    folder = state_folder(repo) / "workspaces"
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def create(repo: Path, pinned: Pin, params: Params, run_id: str) -> Path:
    """Check the pinned commit out to <state>/workspaces/<run_id>, with the run's parameters.

    The checkout borrows the repository's git objects and uses its DVC cache and remotes.
    It appears whole or not at all. Raises GanpipeError when the run has one already.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", run_id):
        raise GanpipeError(f"{run_id!r} is no run id: use letters, digits, '.', '_' and '-'")
    workspace = state_folder(repo) / "workspaces" / run_id
    if workspace.exists():
        raise GanpipeError(f"run {run_id} has a workspace already: {workspace}")
    beside = workspace.with_name(f".{run_id}.{os.getpid()}.partial")
    beside.mkdir(parents=True)
    try:
        _check_out(repo, pinned.commit, beside)
        parameters.write(params, beside / parameters.PARAMS_FILE)
        configure_dvc(repo, beside)
        beside.rename(workspace)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return workspace


def _check_out(repo: Path, commit: str, folder: Path) -> None:
    """What `git clone --shared` does, but for any commit, and from a shallow clone too."""
    common = Path(git(repo, "rev-parse", "--git-common-dir").removesuffix("\n"))
    common = (repo / common).resolve()
    form = git(repo, "rev-parse", "--show-object-format").strip()
    # no template: the user's own hooks must not run in a workspace
    git(folder, "init", "--quiet", "--template=", f"--object-format={form}")
    objects = folder / ".git" / "objects"
    (objects / "info").mkdir(exist_ok=True)
    (objects / "info" / "alternates").write_text(f"{common / 'objects'}\n", encoding="utf-8")
    if (common / "shallow").exists():
        shutil.copy(common / "shallow", folder / ".git" / "shallow")
    hooks_off = ("-c", f"core.hooksPath={os.devnull}", "-c", "advice.detachedHead=false")
    git(folder, *hooks_off, "checkout", "--quiet", "--detach", commit)


def configure_dvc(
    repo: Path, workspace: Path, more: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Give a checkout the repository's cache, remotes and credentials, and `more` settings.

    Relative paths in the repository's configuration mean folders relative to the repository.
    """
    from dvc.config import Config, ConfigError  # type: ignore[import-untyped]
    from dvc.config import merge as merge_config

    if not (repo / ".dvc").is_dir():
        raise GanpipeError(f"{repo} is no DVC repository: make it one with `dvc init`")
    try:
        source = Config(dvc_dir=str(repo / ".dvc"))
        tracked = source.load_one("repo")
        settings = {"remote": tracked["remote"]}
        merge_config(settings, source.load_one("local"))
        cache = source["cache"].get("dir") or repo / ".dvc" / "cache"
        merge_config(settings, {"cache": {"dir": str(cache)}, **(more or {})})
        with Config(dvc_dir=str(workspace / ".dvc")).edit("local") as local:
            merge_config(local, settings)
    except ConfigError as error:
        raise GanpipeError(
            f"DVC's configuration of {repo} is not valid: {error}; see `dvc config --list`"
        ) from None


def environment(repo: Path, workspace: Path | None = None) -> dict[str, str]:
    """Environment of child processes: the workspace's code, this Python, the state folder."""
    state = state_folder(repo)
    env = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    env.pop("PYTHONSAFEPATH", None)
    here = str(Path(sys.executable).parent)
    search = [str(workspace or repo), env.get("PYTHONPATH", "")]
    env |= {
        STATE_VARIABLE: str(state),
        "DVC_SITE_CACHE_DIR": str(state / "dvc"),
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "true",
        "PATH": os.pathsep.join([here, env.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(part for part in search if part),
        "PYTHONUNBUFFERED": "1",
    }
    return env
