"""DVC on one stage of a checkout: run it if its inputs changed, or ask whether it would run.

Run as a script there: `run NAME`, or `known NAME`, which ends with code 0 where no code would run.
DVC's own command either talks too much or, with --quiet, does not say that the system killed a
stage; and its --dry does not look among the runs of other checkouts.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def command(action: str, name: str) -> list[str]:
    """The command line of this script. -P: the checkout must not shadow what DVC imports."""
    return [sys.executable, "-P", str(Path(__file__).resolve()), action, name]


def is_cached(name: str, checkout: Path, env: Mapping[str, str]) -> bool:
    """Whether a stage would run none of its code; False where DVC cannot tell.

    Changes nothing, and takes about a second.
    """
    asked = subprocess.run(command("known", name), cwd=checkout, env=dict(env), capture_output=True)
    return asked.returncode == 0


def _run(name: str) -> int:
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo() as repo:
            repo.reproduce(targets=[name], single_item=True)
    except DvcException as error:
        why = f": {error.__cause__}" if error.__cause__ else ""
        sys.stdout.write(f"{error}{why}\n")
        return 255  # as DVC's own command
    return 0


def _known(name: str) -> int:
    from dvc.repo import Repo
    from dvc.stage.cache import RunCacheNotFoundError  # type: ignore[import-untyped]

    with Repo() as repo, repo.lock:
        (stage,) = repo.stage.collect(name)
        stage.save_deps()  # their hashes, in memory only
        try:
            repo.stage_cache.restore(stage, dry=True)
        except RunCacheNotFoundError:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit({"run": _run, "known": _known}[sys.argv[1]](sys.argv[2]))
