"""DVC's cache and its remote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ganpipe.doctor.check import Check

SECONDS_TO_ANSWER = 6.0
LITTLE_SPACE, TOO_LITTLE_SPACE = 5e9, 5e8  # bytes free for the DVC cache


def dvc(repo: Path) -> Iterator[Check]:
    """Room in the cache, and whether the remote answers."""
    if not (repo / ".dvc").is_dir():
        yield Check("DVC", "fail", f"{repo} has no .dvc folder", "run `dvc init` there")
        return
    from dvc.config import Config, ConfigError  # type: ignore[import-untyped]

    try:
        config = Config(dvc_dir=str(repo / ".dvc"))
    except ConfigError as error:
        yield Check("DVC", "fail", str(error), "mend .dvc/config or .dvc/config.local")
        return
    yield _cache(repo, Path(config["cache"].get("dir") or repo / ".dvc" / "cache"))
    yield _remote(repo, config)


def _cache(repo: Path, cache: Path) -> Check:
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    same_disk = existing.stat().st_dev == repo.stat().st_dev
    found = f"{cache}, {free / 1e9:.1f} GB free, " + (
        "same disk as the checkout: linked" if same_disk else "another disk: files are copied"
    )
    if not os.access(existing, os.W_OK):
        remedy = f"make {existing} writable, or set another with `dvc cache dir --local`"
        return Check("DVC cache", "fail", f"{existing} is not writable", remedy)
    if free < LITTLE_SPACE:
        status: Literal["warn", "fail"] = "fail" if free < TOO_LITTLE_SPACE else "warn"
        return Check("DVC cache", status, found, "make room, for instance with `ganpipe gc`")
    remedy = "" if same_disk else "a cache on the checkout's disk saves time and space"
    return Check("DVC cache", "ok" if same_disk else "warn", found, remedy)


def _remote(repo: Path, config: Any) -> Check:
    name = config["core"].get("remote")
    remote = config["remote"].get(name) if name else None
    if remote is None:
        found = f"remote {name} is not defined" if name else "none: results stay on this machine"
        return Check("DVC remote", "warn", found, "set one with `ganpipe init --remote URL`")
    # a child process, since a bucket that does not answer cannot be interrupted otherwise
    script = (
        "from dvc.repo import Repo\n"
        "remote = Repo('.').cloud.get_remote()\n"
        "fs, path = remote.fs, remote.path\n"
        "top = fs.parent(path) if fs.protocol == 'local' else path.partition('/')[0]\n"
        "print(fs.exists(path) or fs.exists(top))"
    )
    url = remote["url"]
    remedy = "check the address, the network and the credentials in .dvc/config.local"
    command = [sys.executable, "-W", "ignore", "-c", script]
    try:
        done = subprocess.run(
            command, cwd=repo, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER
        )
    except subprocess.TimeoutExpired:
        return Check("DVC remote", "warn", f"{url} did not answer in time", remedy)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["unknown"])[-1][:200]
        return Check("DVC remote", "warn", f"{url}: {reason}", remedy)
    if done.stdout.strip() != "True":
        return Check("DVC remote", "warn", f"{url} was not found", remedy)
    return Check("DVC remote", "ok", f"{url} answers")
