"""DVC on one stage of a checkout: run it if its inputs changed, or ask whether it would run.

Run as a script there: `run NAME`, or `known NAME`, which ends with code 0 where no code would run.
DVC's own command either talks too much or, with --quiet, does not say that the system killed a
stage; and its --dry does not look among the runs of other checkouts.
"""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS_TO_NOTE = 5.0


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
            _remove_unfinished(repo)
            repo.reproduce(targets=[name], single_item=True)
    except DvcException as error:
        why = f": {_with_signal(str(error.__cause__))}" if error.__cause__ else ""
        sys.stdout.write(f"{error}{why}\n")
        return 255  # as DVC's own command
    return 0


def _with_signal(why: str) -> str:
    """The name of the signal that ended a stage, where DVC tells a number.

    That is -9 from a shell that became the stage and 137 from one that waited for it.
    """
    code = re.search(r"exited with (-?[0-9]+)$", why)
    number = int(code[1]) if code else 0
    number = -number if number < 0 else number - 128
    if code is None or number not in set(signal.Signals):
        return why
    return f"{why[: code.start()]}killed by {signal.Signals(number).name}"


def _remove_unfinished(repo: Any) -> None:
    """Remove what a DVC that was killed left half written, on which any other fails for good.

    What dvc.lock said comes back from the run-cache, stage by stage.
    """
    from dvc.dvcfile import LOCK_FILE, Lockfile  # type: ignore[import-untyped]
    from dvc.rwlock import RWLOCK_FILE  # type: ignore[import-untyped]
    from dvc.utils.serialize import ParseError  # type: ignore[import-untyped]
    from dvc.utils.strictyaml import YAMLValidationError  # type: ignore[import-untyped]

    lock = Path(repo.root_dir) / LOCK_FILE
    try:
        Lockfile(repo, str(lock)).load()
    except (ParseError, YAMLValidationError):
        lock.unlink()
    at_work = Path(repo.tmp_dir) / RWLOCK_FILE
    try:
        json.loads(at_work.read_bytes())
    except FileNotFoundError:
        pass  # nothing has run here yet
    except ValueError:
        at_work.unlink()
    # it makes a folder, then at once a file in it: one that is older and empty is nobody's
    for folder in Path(repo.stage_cache.cache_dir).glob("*/*"):
        with suppress(FileNotFoundError):  # another run removed it
            if time.time() - folder.stat().st_mtime > SECONDS_TO_NOTE and not any(folder.iterdir()):
                folder.rmdir()


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
