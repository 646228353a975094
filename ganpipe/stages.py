"""The six stages of dvc.yaml: each reads its inputs below a root and writes its outputs there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ganpipe.errors import GanpipeError
from ganpipe.params import PARAMS_FILE, Params


def state_folder() -> Path:
    """What outlives runs: outside DVC's outputs, which DVC deletes before a stage runs."""
    return Path(os.environ.get("GANPIPE_STATE", ".ganpipe"))


def scratch_folder() -> Path:
    """Where training keeps its exact state."""
    return state_folder() / "scratch"


def start(params: Params, root: Path) -> None:
    """A checkpoint by its address, or nothing -> data/start."""
    from ganpipe import checkpoints
    from ganpipe.files import replacing_folder
    from ganpipe.training import start as begin

    named, output = params.train.start, root / "data" / "start"
    address = checkpoints.address(named, root)
    if address != named:
        raise GanpipeError(
            f"train.start={named} may name another checkpoint tomorrow, and a stage must not: "
            f"set train.start to what it names now, {address}, in {PARAMS_FILE} "
            "(`ganpipe run` does so in its own)"
        )
    if address == begin.SCRATCH:
        with replacing_folder(output) as folder:
            (folder / begin.SCRATCH).touch()
        return
    images = checkpoints.fetch(address, root, output)["images"]
    begin.check_length(images, params.train)  # now rather than after minutes of features
    print(f"start: {address} was shown {images / 1000:g} kimg")


def ingest(params: Params, root: Path) -> None:
    """Images anywhere -> data/raw."""
    from ganpipe.data import ingest as work
    from ganpipe.data.manifest import told
    from ganpipe.data.sources import make_source, read_fingerprint

    source = make_source(params.data)
    known, now = read_fingerprint(root), source.fingerprint()
    if known != now:
        was = f"{known['count']} files of {known['source']}" if known else "nothing"
        raise GanpipeError(
            f"data/source.json says {was}, the source now holds {now['count']} files of "
            f"{now['source']} (or other bytes): run `ganpipe refresh` to take the change in"
        )
    cache = state_folder() / "ingest"
    raw = root / "data" / "raw"
    summary = work.ingest(source, raw, params.data, params.compute, cache)
    for line in told(raw, summary):
        print(f"ingest: {line}")


def preprocess(params: Params, root: Path) -> None:
    """data/raw -> data/train and data/test, and data/report for people."""
    from ganpipe.data.preprocess import preprocess as work
    from ganpipe.data.report import write_report

    raw = root / "data" / "raw"
    outputs = {split: root / "data" / split for split in ("train", "test")}
    counts = work(raw, outputs, params.data, params.compute)
    write_report(raw, outputs, root / "data" / "report")
    print(f"preprocess: {counts['train']} images for training, {counts['test']} for testing")


def reference(params: Params, root: Path) -> None:
    """data/train and data/test -> data/reference."""
    from ganpipe.compute import resolve_evaluate, settle
    from ganpipe.data.dataset import Dataset
    from ganpipe.evaluation.real_images import make_reference
    from ganpipe.training.loop import check

    evaluate = resolve_evaluate(params.evaluate)
    settle(evaluate.threads)
    train, test = Dataset(root / "data" / "train"), Dataset(root / "data" / "test")
    check(train, params.model, params.train)  # now rather than after minutes of features
    make_reference(train, test, evaluate, root / "data" / "reference")


def train(params: Params, root: Path) -> None:
    """data/train, data/reference and data/start -> model and checkpoints."""
    from ganpipe.compute import resolve_train, settle
    from ganpipe.data.dataset import Dataset
    from ganpipe.evaluation.reference import STATISTICS
    from ganpipe.training import launch
    from ganpipe.training.distributed import connected
    from ganpipe.training.loop import run_training

    train = resolve_train(params.train)
    if launch.is_needed(train):
        launch.launch(train, root)
        return
    settle(train.threads)
    outputs = {"model": root / "model", "checkpoints": root / "checkpoints"}
    dataset = Dataset(root / "data" / "train")
    data = root / "data"
    places = {"reference": data / "reference" / STATISTICS, "begin": data / "start"}
    if params.evaluate.weights:  # which weights they are is in the reference, by their sha256
        places["weights"] = Path(params.evaluate.weights)
    with connected(train) as world:
        run_training(dataset, params.model, train, outputs, scratch_folder(), **places, world=world)


def evaluate(params: Params, root: Path) -> None:
    """model and data/reference -> report."""
    from ganpipe.compute import resolve_evaluate, settle
    from ganpipe.data.dataset import Dataset
    from ganpipe.evaluation.measure import evaluate as work

    evaluate = resolve_evaluate(params.evaluate)
    settle(evaluate.threads)
    data = Dataset(root / "data" / "train"), Dataset(root / "data" / "test")
    places = root / "model", root / "data" / "reference"
    metrics = work(*places, data, evaluate, root / "report")
    metric = metrics["protocol"]["metric"]
    floor = metrics[f"floor_{metric}"]
    print(f"evaluate: {metric} = {metrics[metric]:.2f} (real against real {floor:.2f})")


STAGES: dict[str, Callable[[Params, Path], None]] = {
    "start": start,
    "ingest": ingest,
    "preprocess": preprocess,
    "reference": reference,
    "train": train,
    "evaluate": evaluate,
}


def run(name: str, params: Params, root: Path) -> None:
    """Run one stage in a folder. Raises GanpipeError for an unknown name or bad input."""
    if name not in STAGES:
        raise GanpipeError(f"{name} is no stage; the stages are {', '.join(STAGES)}")
    STAGES[name](params, root)
