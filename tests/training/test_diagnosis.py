"""Sick runs are stopped with what happened and what to try; healthy ones never."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.params import TrainParams
from ganpipe.training import diagnosis, start
from ganpipe.training.history import Line
from ganpipe.training.loop import Run, check
from tests.training.runs import MODEL, TRAIN, make_dataset

PARAMS = TrainParams(batch=64)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    torch.set_num_threads(1)
    return make_dataset(tmp_path_factory.mktemp("data"))


def run(dataset: Dataset, scratch: Path, **changed: Any) -> Run:
    few = {"tick_kimg": 0.5, "snapshot_kimg": 1.0, "state_kimg": 1.0, "snapshot_samples": 0}
    params = TRAIN.model_copy(update={**few, **changed})
    return Run(dataset, check(dataset, MODEL, params), params, scratch)


def _tensors(run: Run) -> list[Path]:
    return list(run.states.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"lr": 1.0, "loss": "wgan", "r1": 0.0, "r2": 0.0, "kimg": 6.0},
            r"the discriminator has won: .* gradients are 0 .*last good state: .*"
            r"Try higher train\.r1 and train\.r2 \(now 0 and 0\), a lower train\.lr \(now 1\)",
        ),
        (
            {"lr": 0.3, "loss": "wgan", "r1": 0.0, "r2": 0.0, "kimg": 16.0},
            r"the samples collapsed: .* 2 snapshots in a row \(at .*last good state: .*"
            r"train\.loss=rpgan \(now wgan\)",
        ),
    ],
)
def test_a_sick_run_is_stopped_and_its_good_states_stay(
    dataset: Dataset, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    sick = run(dataset, tmp_path, **changed)
    with pytest.raises(GanpipeError, match=said) as told:
        sick.to_the_end()
    assert sick.trainer.images < sick.total
    states = {int(path.stem.removeprefix("state-")): path for path in _tensors(sick)}
    assert states
    assert max(states) < sick.trainer.images
    good = sick.scratch / "good"
    if "last good state: none" in str(told.value):
        assert not good.exists()
    else:
        assert f"train.start={good}" in str(told.value)
        assert start.read(good)["images"] in states
    again = run(dataset, tmp_path, **changed)
    with pytest.raises(GanpipeError, match=str(told.value)[:30]):
        again.to_the_end()
    assert again.trainer.images == sick.trainer.images


@pytest.mark.parametrize("loss", ["rpgan", "ns", "hinge"])
def test_a_healthy_run_on_few_images_goes_to_its_end(
    dataset: Dataset, tmp_path: Path, loss: str
) -> None:
    healthy = run(dataset, tmp_path, loss=loss, kimg=4.0)
    healthy.to_the_end()
    assert healthy.trainer.images == 4000


def snapshots(*spreads: float, every: float = 20.0) -> list[Line]:
    return [
        {"images": int(1000 * every * place), "kimg": every * place, "spread": spread}
        for place, spread in enumerate(spreads, 1)
    ]


def ticks(*ranks: float, every: float = 4.0, gradient: float = 0.5) -> list[Line]:
    return [
        {
            "images": int(1000 * every * place),
            "kimg": every * place,
            "rank": rank,
            "gradient_generator": gradient,
        }
        for place, rank in enumerate(ranks, 1)
    ]


def test_samples_that_differed_and_no_longer_do_have_collapsed() -> None:
    found = diagnosis.trouble(snapshots(0.9, 0.8, 0.01, 0.015), PARAMS)
    assert found is not None
    assert found.since == 60_000
    assert "1.5 % of what real images do" in found.what


@pytest.mark.parametrize(
    "spreads", [(0.9, 0.01), (0.9, 0.01, 0.03), (0.01, 0.01), (0.01, 0.9, 0.8), (0.01,), ()]
)
def test_one_flat_snapshot_or_a_young_run_has_not_collapsed(spreads: tuple[float, ...]) -> None:
    assert diagnosis.trouble(snapshots(*spreads), PARAMS) is None


def test_samples_that_never_differed_have_collapsed_after_a_while() -> None:
    assert diagnosis.trouble(snapshots(0.0, 0.0, 0.0, 0.0, 0.0), PARAMS) is not None


def test_a_while_is_longer_where_batches_are_large() -> None:
    large = PARAMS.model_copy(update={"batch": 512})
    assert diagnosis.trouble(snapshots(0.0, 0.0, 0.0, 0.0, 0.0), large) is None
    assert diagnosis.trouble(ticks(*[1.0] * 30), large) is None
    assert diagnosis.trouble(ticks(*[1.0] * 30), PARAMS) is not None


def test_a_discriminator_that_is_always_right_has_won() -> None:
    found = diagnosis.trouble(ticks(0.8, *[0.9995] * 18), PARAMS)
    assert found is not None
    assert found.since == 8_000
    assert "for 68 kimg" in found.what
    assert "train.augment=ada (now none)" in found.advice


@pytest.mark.parametrize("ranks", [[0.99] * 40, [1.0] * 12, [*[1.0] * 15, 0.9, *[1.0] * 15]])
def test_a_discriminator_that_is_nearly_always_right_has_not_won(ranks: list[float]) -> None:
    assert diagnosis.trouble(ticks(*ranks), PARAMS) is None


def test_without_gradients_it_has_won_at_once() -> None:
    assert diagnosis.trouble(ticks(1.0, 1.0, 1.0, gradient=0.0), PARAMS) is not None
    assert diagnosis.trouble(ticks(1.0, 1.0, gradient=0.0), PARAMS) is None
    assert diagnosis.trouble(ticks(0.5, 0.5, 0.5, gradient=0.0), PARAMS) is None


def test_what_is_not_finite_is_named_with_what_to_try() -> None:
    found = diagnosis.not_finite(7000, {"rank": 0.5, "r1": float("inf")}, PARAMS)
    assert found is not None
    assert found.what == "training diverged: r1=inf is not finite"
    assert "train.lr (now 0.001)" in found.advice
    assert diagnosis.not_finite(7000, {"rank": 0.5}, PARAMS) is None
