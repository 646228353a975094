"""Trainings that kill themselves at a chosen moment: what test_kills.py asks for.

Arguments: a folder, a case of CASES, and the moments, or `count`. Prints JSON: the names of the
moments, or what each killed run came to: "same", or which files differ.
"""

import json
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ganpipe.compute import settle
from ganpipe.data.dataset import Dataset
from ganpipe.params import TrainParams
from ganpipe.training import snapshots
from ganpipe.training.loop import run_training
from tests.killing import forked
from tests.training.runs import MODEL, TRAIN, delivered, make_dataset

# before the outputs there are several states, two of them the best, which are removed in time
SHORT = TRAIN.model_copy(
    update={"kimg": 0.2, "tick_kimg": 0.1, "snapshot_kimg": 0.05, "state_kimg": 0.04}
)
DISTANCES = {60: 9.0, 100: 5.0, 160: 7.0, 200: 6.0}
CASES = {
    "local": [],  # kill; end
    "copied": ["lose"],  # kill, lose the scratch folder; end from the copies
    "fetched": ["lose", "fetch"],  # come to the end, lose the folder, kill while fetching; end
}


class Known:
    """A quick FID that is known for each moment: the features of 8 images take a second."""

    name = "fid_quick_known"

    def __init__(self, *_: object) -> None:
        pass

    def measure(self, generator: snapshots.Generator, _: Callable[[], bool]) -> float:
        return DISTANCES[generator.images]


def run(root: Path, train: TrainParams) -> None:
    snapshots.QuickFid = Known  # type: ignore[assignment,misc]
    outputs = {"model": root / "model", "checkpoints": root / "checkpoints"}
    data = root.parent / "data"
    places = {"reference": root.parent / "reference"}
    run_training(Dataset(data), MODEL, train, outputs, root / "scratch", **places)


def outcome(root: Path, case: str, moment: int, expected: dict[str, bytes]) -> str:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    stores = {} if case == "local" else {"state_url": str(root / "store")}
    work = partial(run, root, SHORT.model_copy(update=stores))
    if "fetch" in CASES[case]:
        assert forked(root, work) == 0
        shutil.rmtree(root / "scratch")
        shutil.rmtree(root / "model")
    status = forked(root, work, moment)
    if status not in (0, -signal.SIGKILL):
        return f"ended with {status}"
    if case == "copied":
        shutil.rmtree(root / "scratch", ignore_errors=True)
    if forked(root, work) != 0:
        return "did not end well"
    found = delivered(root)
    other = [name for name in found | expected if found.get(name) != expected.get(name)]
    return " ".join(other) or ("same" if status == -signal.SIGKILL else "same, not killed")


def main() -> None:
    folder, case, *asked = sys.argv[1:]
    settle(1)
    base = Path(folder).resolve()
    make_dataset(base / "data")
    (base / "reference").mkdir(exist_ok=True)
    whole, names = base / "whole", base / "names.json"
    assert forked(whole, partial(run, whole, SHORT), names=names) == 0
    moments = json.loads(names.read_text())
    if asked == ["count"]:
        print(json.dumps(moments))
        return
    expected = delivered(whole)
    told = {each: outcome(base / "run", case, int(each), expected) for each in asked}
    print(json.dumps({"moments": moments, "told": told}))


if __name__ == "__main__":
    main()
