"""Going on from a checkpoint: as if the run had been longer from the start, or told why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256, write_json
from ganpipe.networks import NetworkConfig
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training import start, state
from ganpipe.training.batches import Batches
from ganpipe.training.trainer import Networks, Trainer

MODEL = ModelParams(latent=8, width=8, max_width=16)
PARAMS = TrainParams(
    batch=16, kimg=0.32, threads=1, precision="float32", device="cpu", penalty_every=3
)
ADDRESS = "dvc:0123456789abcdef0123456789abcdef.dir"


def config(model: ModelParams = MODEL, side: int = 16, classes: int = 0) -> NetworkConfig:
    return NetworkConfig.of(model, side, side, 1, classes)


def fresh(params: TrainParams = PARAMS, networks: NetworkConfig | None = None) -> Trainer:
    return Trainer(Networks.fresh(networks or config(), params), params)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("train")
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 1), dtype=np.uint8)
    np.save(folder / "images-00000.npy", images)
    described = {"height": 16, "width": 16, "channels": 1, "classes": [], "count": 50}
    write_json(folder / "dataset.json", {**described, "sha256": "0" * 64})
    return Dataset(folder)


def trained(trainer: Trainer, dataset: Dataset) -> Trainer:
    """To the end of train.kimg, as the loop does."""
    params = trainer.params
    batches = Batches(dataset, params.seed, params.batch, MODEL.latent)
    while trainer.images < params.kimg * 1000:
        trainer.step(*batches.at(trainer.images))
    trainer.means.take()
    return trainer


def saved(trainer: Trainer, folder: Path) -> Path:
    """The trainer's state as an output `checkpoints`."""
    state.save(trainer, folder / "states", config=config())
    output = folder / "checkpoints"
    output.mkdir()
    found = state.find(folder / "states")
    assert found is not None
    state.export(found, output)
    return output


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Path:
    return saved(trained(fresh(), dataset), tmp_path_factory.mktemp("short"))


def going_on(**changes: object) -> TrainParams:
    return PARAMS.model_copy(update={"start": ADDRESS, "kimg": 0.8, **changes})


def test_its_names_are_those_of_a_state() -> None:
    assert (start.TENSORS, start.DESCRIPTION) == (state.TENSORS, state.DESCRIPTION)


def test_going_on_gives_the_bytes_of_the_run_that_was_that_long_from_the_start(
    tmp_path: Path, dataset: Dataset, checkpoint: Path
) -> None:
    params = going_on()
    longer = trained(fresh(params), dataset)
    # other initial weights: nothing of them may be left
    extended = Trainer(fresh(params.model_copy(update={"seed": 9})).networks, params)
    start.apply(extended, checkpoint, params)
    trained(extended, dataset)
    for name, trainer in (("longer", longer), ("extended", extended)):
        state.save(trainer, tmp_path / name)
    (one,), (two,) = (
        sorted((tmp_path / name).glob("*.safetensors")) for name in ("longer", "extended")
    )
    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()
    assert extended.steps == longer.steps == 50


def test_restart_counts_from_zero_with_the_weights_and_moments_of_the_checkpoint(
    dataset: Dataset, checkpoint: Path
) -> None:
    params = going_on(start_counter="restart", kimg=0.16)
    trainer = fresh(params)
    start.apply(trainer, checkpoint, params)
    assert (trainer.images, trainer.steps) == (0, 0)
    source = trained(fresh(), dataset)
    one, two = state.tensors_of(source), state.tensors_of(trainer)
    assert any(name.startswith("adam.") for name in two)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one if not name.startswith("curves."))
    trained(trainer, dataset)
    assert trainer.images == 160


def test_restart_keeps_the_average_at_its_full_half_life(
    dataset: Dataset, checkpoint: Path
) -> None:
    """The ramp is for averages that hold untrained weights."""
    params = going_on(start_counter="restart", kimg=0.16)
    trainer = fresh(params)
    start.apply(trainer, checkpoint, params)
    networks = trainer.networks
    expected = [weights.double().clone() for weights in networks.average.parameters()]
    batches = Batches(dataset, params.seed, params.batch, MODEL.latent)
    for _ in range(5):
        trainer.step(*batches.at(trainer.images))
        for kept, new in zip(expected, networks.generator.parameters(), strict=True):
            kept.lerp_(new.double(), 1.0 - 0.5 ** (16 / 10_000))
    for kept, now in zip(expected, networks.average.parameters(), strict=True):
        assert torch.allclose(kept.float(), now, rtol=1e-5, atol=1e-8)


def test_restart_takes_the_strength_that_is_asked_for(tmp_path: Path) -> None:
    source = fresh()
    source.images = 100
    checkpoint = saved(source, tmp_path)
    for counter, strength in (("restart", 0.3), ("continue", 0.0)):
        params = going_on(start_counter=counter, augment="ada", augment_strength=0.3)
        trainer = fresh(params)
        start.apply(trainer, checkpoint, params)
        assert trainer.strength.item() == pytest.approx(strength)


def test_the_strength_that_ada_came_to_goes_on_and_the_curves_begin_anew(tmp_path: Path) -> None:
    source = fresh()
    source.images = 100
    source.strength.fill_(0.3)
    source.means.note(r1=torch.tensor(5.0))
    folder = saved(source, tmp_path)
    for counter, strength in (("continue", 0.3), ("restart", 0.0)):
        params = going_on(start_counter=counter)
        trainer = fresh(params)
        start.apply(trainer, folder, params)
        assert trainer.strength.item() == pytest.approx(strength)
        assert not trainer.means.sums.any()
        assert not trainer.means.counts.any()


def test_scratch_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / start.SCRATCH).touch()
    trainer, other = fresh(), fresh()
    start.apply(trainer, tmp_path, PARAMS)
    one, two = state.tensors_of(trainer), state.tensors_of(other)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_folder_that_is_not_what_train_start_says_is_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    (tmp_path / start.SCRATCH).touch()
    for folder, params in ((tmp_path, going_on()), (checkpoint, PARAMS)):
        with pytest.raises(GanpipeError, match=r"not what train\.start=.*`dvc repro start`"):
            start.apply(fresh(params), folder, params)


@pytest.mark.parametrize("kimg", [0.2, 0.32])
def test_a_run_that_ends_before_its_checkpoint_names_both_numbers(
    checkpoint: Path, kimg: float
) -> None:
    params = going_on(kimg=kimg)
    match = rf"train\.kimg={kimg} .* 0\.32 kimg: .*start_counter=restart"
    with pytest.raises(GanpipeError, match=match):
        start.apply(fresh(params), checkpoint, params)


@pytest.mark.parametrize(
    ("networks", "named"),
    [
        (
            config(MODEL.model_copy(update={"latent": 16})),
            r"project\.weight is \d+x8 there and \d+x16 here",
        ),
        (config(MODEL.model_copy(update={"width": 16})), "is 8x.* there and 16x.* here"),
        (
            config(MODEL.model_copy(update={"architecture": "r3gan"})),
            "missing there.* and \\d+ more",
        ),
        (config(side=32), "there and .* here"),
        (config(MODEL.model_copy(update={"conditional": True}), classes=3), "missing there"),
    ],
    ids=["latent", "width", "architecture", "resolution", "classes"],
)
def test_other_networks_are_refused_with_what_differs(
    checkpoint: Path, networks: NetworkConfig, named: str
) -> None:
    params = going_on()
    with pytest.raises(GanpipeError, match=named) as raised:
        start.apply(fresh(params, networks), checkpoint, params)
    assert '"architecture": "dcgan", "latent": 8' in str(raised.value), "what it was made as"
    assert "model.*, data.resolution" in str(raised.value)


def test_extending_a_cosine_run_gives_the_bytes_of_a_longer_run_when_its_length_is_kept(
    tmp_path: Path, dataset: Dataset
) -> None:
    """With schedule_kimg of the first run: held after it. Without, the cosine starts to stretch."""
    cosine = {"schedule": "cosine", "lr_final": 1e-4, "ema_kimg_final": 1.0}
    first = PARAMS.model_copy(update=cosine)  # its schedule is the whole run, of 0.32 kimg
    checkpoint = saved(trained(fresh(first), dataset), tmp_path)
    held = going_on(**cosine, schedule_kimg=0.32)
    stretched = going_on(**cosine)
    longer = trained(fresh(held), dataset)
    assert longer.optimizers["generator"].param_groups[0]["lr"] == pytest.approx(1e-4)
    same = {}
    for name, params in (("held", held), ("stretched", stretched)):
        extended = fresh(params)
        start.apply(extended, checkpoint, params)
        trained(extended, dataset)
        one, two = state.tensors_of(longer), state.tensors_of(extended)
        same[name] = all(torch.equal(one[key], two[key]) for key in one)
    assert same == {"held": True, "stretched": False}


@pytest.mark.parametrize("harm", ["flip", "cut", "torn", "gone", "foreign", "altered"])
def test_a_damaged_checkpoint_is_never_begun_from(
    tmp_path: Path, checkpoint: Path, harm: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(checkpoint, folder)
    tensors, description = folder / start.TENSORS, folder / start.DESCRIPTION
    content = bytearray(tensors.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
        tensors.write_bytes(content)
    elif harm == "cut":
        tensors.write_bytes(content[:-10])
    elif harm == "torn":
        description.write_text(description.read_text(encoding="utf-8")[:20], encoding="utf-8")
    elif harm == "gone":
        tensors.unlink()
    elif harm == "altered":
        text = description.read_text(encoding="utf-8")
        assert '"steps": 20' in text
        description.write_text(text.replace('"steps": 20', '"steps": 21'), encoding="utf-8")
    else:
        description.write_text(json.dumps({"sha256": sha256(tensors)}), encoding="utf-8")
    with pytest.raises(GanpipeError, match=r"damaged|no checkpoint|does not describe"):
        start.apply(fresh(going_on()), folder, going_on())
