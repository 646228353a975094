"""Generates in forked processes, killed at the n-th moment at which something is written.

`python kill_worker.py MODEL FOLDER FORMAT [count | MOMENT ...]` prints what came of it as JSON.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

from ganpipe.compute import settle
from ganpipe.generation import generate
from ganpipe.params.generate import generate_params
from tests.generation.conftest import content
from tests.killing import forked


def run(root: Path, model: str, kind: str, seed: int) -> None:
    values = {"model": model, "destination": str(root / "out"), "format": kind, "seed": seed}
    generate(generate_params(n=150, threads=1, replace=True, **values), root, rows=64)


def looks_whole(root: Path, expected: dict[str, bytes], old: dict[str, bytes]) -> str:
    """What is wrong with the destination just after a kill; empty for nothing."""
    out = root / "out"
    if not out.exists():
        return ""
    found = {name: each for name, each in content(out).items() if not name.startswith(".unf")}
    return "" if found in (expected, old) else f"half written: {sorted(found)}"


def outcome(
    root: Path, model: str, kind: str, moment: int, state: dict[str, dict[str, bytes]]
) -> str:
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(root.parent / "old", root)
    work = partial(run, root, model, kind, 1)
    status = forked(root, work, moment)
    if status not in (0, -signal.SIGKILL):
        return f"ended with {status}"
    if wrong := looks_whole(root, state["expected"], state["old"]):
        return wrong
    if forked(root, work) != 0:
        return "did not end well"
    if [path.name for path in root.iterdir()] != ["out"]:
        return f"left {sorted(path.name for path in root.iterdir())}"
    if content(root / "out") != state["expected"]:
        return "other bytes"
    return "same" if status == -signal.SIGKILL else "same, not killed"


def main() -> None:
    model, folder, kind, *asked = sys.argv[1:]
    settle(1)
    base = Path(folder).resolve()
    for name in ("old", "whole"):
        (base / name).mkdir(parents=True)
    sys.stdout, shown = sys.stderr, sys.stdout
    run(base / "old", model, kind, 0)
    shutil.copytree(base / "old", base / "whole", dirs_exist_ok=True)
    names = base / "names.json"
    whole = base / "whole"
    assert forked(whole, partial(run, whole, model, kind, 1), names=names) == 0
    moments = json.loads(names.read_text())
    state = {
        name: content(base / key / "out") for name, key in (("expected", "whole"), ("old", "old"))
    }
    every = range(1, len(moments) + 1) if asked == ["all"] else map(int, asked)
    told = {each: outcome(base / "run", model, kind, each, state) for each in every}
    shown.write(json.dumps({"moments": moments, "told": told}))


if __name__ == "__main__":
    main()
