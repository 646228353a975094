"""Snapshots: the best one, with the state that belongs to it, is what a run leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.real_images import make_reference
from ganpipe.evaluation.reference import STATISTICS
from ganpipe.files import read_json
from ganpipe.networks import NetworkConfig, load_generator, sample
from ganpipe.params import EvaluateParams, TrainParams
from ganpipe.training import snapshots, state
from ganpipe.training.clock import Clock
from ganpipe.training.history import quick_fid
from ganpipe.training.loop import Run, check
from ganpipe.training.stopping import Interrupted
from ganpipe.training.trainer import Networks, Trainer
from tests.training.runs import MODEL, TRAIN, Told, make_dataset

Outputs = dict[str, Path]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    torch.set_num_threads(1)
    return make_dataset(tmp_path_factory.mktemp("data") / "train")


@pytest.fixture(scope="module")
def reference(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference") / "reference"
    make_reference(dataset, dataset, EvaluateParams(samples=16), folder)
    return folder / STATISTICS


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return {name: tmp_path / name for name in ("model", "checkpoints")}


def prepared(dataset: Dataset, scratch: Path, *distances: float | None, **changed: Any) -> Run:
    """A run whose snapshots have these distances."""
    params = TRAIN.model_copy(update=changed)
    run = Run(dataset, check(dataset, MODEL, params), params, scratch)
    assert run.snapshots is not None
    if distances:
        run.snapshots.quick = Told(*distances)  # type: ignore[assignment]
    return run


def left(outputs: Outputs) -> dict[str, bytes]:
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes()
        for name, folder in outputs.items()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines(outputs: Outputs) -> list[dict[str, Any]]:
    text = (outputs["model"] / "history.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def restored(outputs: Outputs, dataset: Dataset) -> Trainer:
    config = check(dataset, MODEL, TRAIN)
    trainer = Trainer(Networks.fresh(config, TRAIN.model_copy(update={"seed": 5})), TRAIN)
    folder = outputs["checkpoints"]
    images = read_json(folder / state.DESCRIPTION)["images"]
    saved = state.SavedState(images, folder / state.TENSORS, folder / state.DESCRIPTION)
    state.restore(trainer, saved)
    return trainer


@pytest.mark.parametrize(
    ("distances", "chosen"),
    [
        ((9.0, 5.0, 7.0, 6.0, 8.0, 7.0), 200),
        ((9.0, 8.0, 7.0, 6.0, 5.0, 4.0), 600),
        ((9.0, 5.0, 5.0, 5.0, 5.0, 5.0), 200),  # of equals the earliest
        ((math.nan, 5.0, math.nan, 4.0, math.inf, math.nan), 400),
        ((math.nan,) * 6, 600),  # none can be chosen: the last
    ],
)
def test_the_best_snapshot_and_its_state_are_the_output(
    dataset: Dataset,
    tmp_path: Path,
    outputs: Outputs,
    distances: tuple[float, ...],
    chosen: int,
) -> None:
    run = prepared(dataset, tmp_path / "scratch", *distances)
    run.to_the_end()
    assert len(list(run.states.glob("*.safetensors"))) <= 3
    run.write_outputs(outputs)
    generator = load_generator(outputs["model"])
    trainer = restored(outputs, dataset)
    assert generator.images == trainer.images == chosen
    for kept, made in zip(
        trainer.networks.average.state_dict().values(),
        generator.network.state_dict().values(),
        strict=True,
    ):
        assert torch.equal(kept, made)
    assert [line["images"] for line in lines(outputs)] == list(range(100, 700, 100))
    assert len(list((outputs["model"] / "grids").iterdir())) == 7


def test_the_checkpoint_is_the_generator_that_had_the_reported_distance(
    dataset: Dataset, reference: Path, tmp_path: Path, outputs: Outputs
) -> None:
    params = TRAIN.model_copy(update={"kimg": 0.3})
    run = Run(dataset, check(dataset, MODEL, params), params, tmp_path / "s", reference=reference)
    run.to_the_end()
    run.write_outputs(outputs)
    noted = {line["images"]: line["fid_quick_lite0_8"] for line in lines(outputs)}
    generator = load_generator(outputs["model"])
    assert noted[generator.images] == min(noted.values())
    quick = snapshots.QuickFid(reference, params)
    trainer = restored(outputs, dataset)
    again = quick.measure(
        type(generator)(trainer.networks.average, generator.config, [], trainer.images),
        lambda: False,
    )
    assert again == pytest.approx(noted[generator.images], rel=1e-5)
    assert read_json(outputs["checkpoints"] / "state.json")["best"] == {
        "images": generator.images,
        "fid": noted[generator.images],
    }


def test_without_a_measure_the_last_state_is_the_output(
    dataset: Dataset, reference: Path, tmp_path: Path, outputs: Outputs
) -> None:
    params = TRAIN.model_copy(update={"snapshot_samples": 0})
    run = Run(dataset, check(dataset, MODEL, params), params, tmp_path / "s", reference=reference)
    run.to_the_end()
    run.write_outputs(outputs)
    assert load_generator(outputs["model"]).images == 600
    assert read_json(outputs["checkpoints"] / "state.json")["best"] is None
    assert all(quick_fid(line) is None for line in lines(outputs))


def test_a_run_ends_when_no_snapshot_is_better_for_long(
    dataset: Dataset, tmp_path: Path, outputs: Outputs, capsys: pytest.CaptureFixture[str]
) -> None:
    run = prepared(dataset, tmp_path / "s", 9.0, 5.0, 7.0, 6.0, 4.0, 3.0, stop_kimg=0.2)
    run.to_the_end()
    run.write_outputs(outputs)
    assert run.trainer.images == 200
    assert lines(outputs)[-1] == {
        "images": 400,
        "kimg": 0.4,
        "end": "no snapshot since 0.2 kimg was better",
    }
    assert "ends at 0.4 kimg: no snapshot since 0.2 kimg was better" in capsys.readouterr().out
    again = prepared(dataset, tmp_path / "s", stop_kimg=0.2)  # killed before it wrote its outputs
    again.to_the_end()
    before = left(outputs)
    again.write_outputs(outputs)
    assert left(outputs) == before


def test_asked_to_stop_while_a_snapshot_is_measured_it_is_measured_when_the_run_goes_on(
    dataset: Dataset, tmp_path: Path, outputs: Outputs
) -> None:
    whole = prepared(dataset, tmp_path / "whole", 9.0, 5.0, 7.0, 6.0, 8.0, 7.0, tick_kimg=0.15)
    whole.to_the_end()
    whole.write_outputs(outputs)
    expected = left(outputs)
    cut = prepared(dataset, tmp_path / "cut", 9.0, 5.0, None, tick_kimg=0.15)
    with pytest.raises(Interrupted):
        cut.to_the_end()
    saved = state.find(cut.states)
    assert saved is not None
    assert saved.pending
    assert saved.images == 300
    rest = prepared(dataset, tmp_path / "cut", 7.0, 6.0, 8.0, 7.0, tick_kimg=0.15)
    rest.to_the_end()
    rest.write_outputs(outputs)
    assert left(outputs) == expected


def test_whatever_state_is_damaged_one_is_found_whose_best_is_whole(
    dataset: Dataset, tmp_path: Path
) -> None:
    run = prepared(dataset, tmp_path / "s", 9.0, 5.0, 7.0, 6.0, 4.0, 7.0)
    run.to_the_end()
    at = {int(path.stem[6:]): path for path in run.states.glob("*.safetensors")}
    assert sorted(at) == [500, 600]
    for images in (600, 500):
        at[images].write_bytes(b"")
        saved = state.find(run.states)
        # 200 was the best when 500 was saved, and went when 500 had outlived 400
        assert (saved.images if saved else None) == (500 if images == 600 else None)


def test_a_damaged_best_is_told_and_the_next_run_begins_before_it(
    dataset: Dataset, tmp_path: Path, outputs: Outputs
) -> None:
    run = prepared(dataset, tmp_path / "s", 9.0, 5.0, 7.0, 6.0, 8.0, 7.0)
    run.to_the_end()
    (run.states / "state-000000000200.safetensors").write_bytes(b"")
    with pytest.raises(GanpipeError, match=r"damaged: run the stage again"):
        run.write_outputs(outputs)
    assert state.find(run.states) is None
    again = prepared(dataset, tmp_path / "s", 9.0, 5.0, 7.0, None)
    with pytest.raises(Interrupted):  # while the fourth snapshot is measured
        again.to_the_end()
    saved = state.find(run.states)
    assert saved is not None
    assert saved.images == 400  # and not what the first run left of 500 and 600
    last = prepared(dataset, tmp_path / "s", 6.0, 8.0, 7.0)
    last.to_the_end()
    last.write_outputs(outputs)
    whole = prepared(dataset, tmp_path / "whole", 9.0, 5.0, 7.0, 6.0, 8.0, 7.0)
    whole.to_the_end()
    others = {name: tmp_path / f"other-{name}" for name in outputs}
    whole.write_outputs(others)
    assert left(outputs) == left(others)


def test_a_choice_by_other_latents_than_the_reported_evaluation(dataset: Dataset) -> None:
    config: NetworkConfig = check(dataset, MODEL, TRAIN)
    average = Networks.fresh(config, TRAIN).average
    generator = snapshots.Generator(average, config, [], 0)
    chosen, reported = (
        sample(generator, 64, TRAIN.seed, purpose=purpose)
        for purpose in (snapshots.PURPOSE, "evaluate")
    )
    assert not (chosen == reported).all(axis=(1, 2, 3)).any()


def test_the_name_of_the_distance_carries_its_protocol(reference: Path) -> None:
    params = TrainParams(snapshot_samples=2000, precision="bf16")
    assert snapshots.QuickFid(reference, params).name == "fid_quick_lite0bf16_2k"


def test_spread_is_a_share_of_what_real_images_differ() -> None:
    real = np.random.default_rng(0).integers(0, 256, (500, 8, 8, 3), np.uint8)
    assert snapshots.variance(real) == pytest.approx((256**2 - 1) / 12, rel=0.01)
    assert snapshots.variance(np.repeat(real[:1], 64, axis=0)) == 0.0


def test_the_time_of_snapshots_is_no_training_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("ganpipe.training.clock.time.perf_counter", lambda: now)
    clock = Clock(tmp_path)
    now += 2.0
    with clock.paused():
        now += 50.0
    assert clock.lap(400).startswith("200 images/s")
    noted = json.loads((tmp_path / "speed.jsonl").read_text())
    assert noted["images_per_second"] == 200.0
    assert noted["peak_memory_mb"] > 50
