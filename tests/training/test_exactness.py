"""Exactness: killed at any moment and started again, a run ends with the same bytes."""

import json
import random
import shutil
import signal
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.evaluation.real_images import make_reference
from ganpipe.evaluation.reference import STATISTICS
from ganpipe.files import sha256, write_json
from ganpipe.networks import NetworkConfig
from ganpipe.params import EvaluateParams, ModelParams, TrainParams
from ganpipe.training import description, state
from ganpipe.training.history import Best
from ganpipe.training.loop import Run, run_training
from ganpipe.training.scratch import NO_MATTER, scratch_key
from ganpipe.training.trainer import Networks, Trainer
from tests.training.runs import MODEL, delivered, start

TRAIN = TrainParams(
    kimg=6.0,
    batch=32,
    tick_kimg=0.5,
    snapshot_kimg=2.4,  # at other moments than ticks and states
    snapshot_samples=8,
    state_kimg=0.25,
    penalty_every=3,
    threads=1,
    device="cpu",
    precision="float32",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "train"
    folder.mkdir()
    # noise of a colour for each image: of noise alone all samples become the same grey, and on
    # some kinds of CPU the run is stopped as collapsed
    draw = np.random.default_rng(0)
    colours = draw.integers(40, 216, (500, 1, 1, 3))
    images = (colours + draw.integers(-40, 41, (500, 16, 16, 3))).astype(np.uint8)
    np.save(folder / "images-00000.npy", images)
    description = {"height": 16, "width": 16, "channels": 3, "classes": [], "count": 500}
    write_json(folder / "dataset.json", {**description, "sha256": "0" * 64})
    whole, few = Dataset(folder), EvaluateParams(samples=16)
    make_reference(whole, whole, few, folder.parent / "reference")
    return folder


def _finish(root, dataset, train=TRAIN):
    assert start(root, dataset, train).wait(timeout=300) == 0
    return delivered(root)


def _newest(root):
    """Images shown at the newest saved state, 0 before the first."""
    names = (root / "scratch").glob("train-*/states/*.json")
    return max((int(path.stem.removeprefix("state-")) for path in names), default=0)


def _wait_for_a_state(root, process, after=0):
    deadline = time.monotonic() + 60
    while _newest(root) <= after:
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, dataset):
    return _finish(tmp_path_factory.mktemp("uninterrupted"), dataset)


def test_the_same_run_twice_gives_the_same_bytes(tmp_path, dataset, uninterrupted):
    assert _finish(tmp_path, dataset) == uninterrupted
    model = ("generator.safetensors", "history.jsonl", "curves.csv", "film.webp")
    assert {f"model/{name}" for name in model} < set(uninterrupted)
    assert {"checkpoints/state.safetensors", "checkpoints/state.json"} < set(uninterrupted)
    measured = uninterrupted["model/history.jsonl"].decode().count("fid_quick_lite0_8")
    assert measured == 3


def _killed_and_finished(root, dataset, train, seed, kills):
    """The outputs of a run that was killed with SIGKILL after some state or while one is saved."""
    waits = random.Random(seed)
    for _ in range(kills):
        process = start(root, dataset, train)
        _wait_for_a_state(root, process, after=_newest(root))
        time.sleep(waits.uniform(0, 0.05))
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    return _finish(root, dataset, train)


def test_sigkill_changes_no_byte(tmp_path, dataset, uninterrupted):
    assert _killed_and_finished(tmp_path, dataset, TRAIN, seed=0, kills=3) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_sigkill_at_twenty_random_moments_changes_no_byte(tmp_path, dataset, uninterrupted, seed):
    assert _killed_and_finished(tmp_path, dataset, TRAIN, seed, kills=4) == uninterrupted


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_stopped_while_a_snapshot_is_measured_no_byte_changes(
    tmp_path, dataset, uninterrupted, number
):
    grids = tmp_path / "scratch"
    for seen in (1, 2):  # the first is of the untrained network
        process = start(tmp_path, dataset, TRAIN)
        while len(list(grids.glob("train-*/grids/grid-*.png"))) <= seen:
            assert process.poll() is None, "the run ended before it could be interrupted"
            time.sleep(0.002)
        process.send_signal(number)
        assert process.wait(timeout=10) != 0
    assert _finish(tmp_path, dataset) == uninterrupted


@pytest.mark.slow
def test_sigkill_changes_no_byte_in_bf16_on_two_threads(tmp_path, dataset):
    """What a run uses by default: bf16, every core, channels_last weights."""
    train = TRAIN.model_copy(update={"precision": "bf16", "threads": 2, "kimg": 1.5})
    whole = _finish(tmp_path / "whole", dataset, train)
    assert _killed_and_finished(tmp_path / "cut", dataset, train, seed=9, kills=2) == whole


def test_sigterm_saves_the_state_and_the_run_goes_on_from_there(tmp_path, dataset, uninterrupted):
    process = start(tmp_path, dataset, TRAIN)
    _wait_for_a_state(tmp_path, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 128 + signal.SIGTERM
    assert not (tmp_path / "model").exists()
    assert _finish(tmp_path, dataset) == uninterrupted


@pytest.mark.parametrize(
    ("suffix", "harm"),
    [(".safetensors", "flip"), (".safetensors", "cut"), (".jsonl", "flip"), (".json", "cut")],
)
def test_a_damaged_state_is_noticed_and_the_one_before_used(
    tmp_path, dataset, uninterrupted, suffix, harm
):
    process = start(tmp_path, dataset, TRAIN)
    _wait_for_a_state(tmp_path, process, after=600)  # some curves belong to it
    process.send_signal(signal.SIGKILL)
    process.wait()
    (states,) = (tmp_path / "scratch").glob("train-*/states")
    newest = sorted(states.glob("*.json"))[-1]
    _harm(newest.with_suffix(suffix), harm)
    _harm(states.parent / "history.jsonl", "flip")  # which is for those that watch the run
    found = state.find(states)
    assert found is not None
    assert found.description != newest
    assert _finish(tmp_path, dataset) == uninterrupted


def _harm(path, how):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if how == "flip" else content[: len(content) // 2])


@pytest.mark.slow
def test_a_damaged_picture_is_noticed(tmp_path, dataset, uninterrupted):
    """It is an output, and a frame of the film."""
    process = start(tmp_path, dataset, TRAIN)
    _wait_for_a_state(tmp_path, process, after=2600)
    process.send_signal(signal.SIGKILL)
    process.wait()
    grid = sorted((tmp_path / "scratch").glob("train-*/grids/*.png"))[-1]
    _harm(grid, "flip")
    assert _finish(tmp_path, dataset) == uninterrupted


def test_no_bit_of_a_state_changes_unnoticed(tmp_path):
    """Each bit of description, curves and pictures; of the tensors, one in 5,000 bytes."""
    config = NetworkConfig.of(MODEL, 16, 16, 3)
    trainer = Trainer(Networks.fresh(config, TRAIN), TRAIN)
    grids, states = tmp_path / "grids", tmp_path / "states"
    grids.mkdir()
    (grids / "grid-0.png").write_bytes(b"picture")
    sums = {"grid-0.png": sha256(grids / "grid-0.png")}
    curves = b'{"images": 100}\n'
    for trainer.images in (100, 200):
        saved = state.save(
            trainer,
            states,
            config=config,
            best=Best(100, 9.5),
            history=curves,
            grids=sums,
        )
    files = {saved.description: 1, saved.history: 1, grids / "grid-0.png": 1, saved.tensors: 5000}
    for path, stride in files.items():
        whole = path.read_bytes()
        expected = None if path.parent == grids else 100
        for place in range(0, len(whole), stride):
            for bit in range(8) if stride == 1 else [place // stride % 8]:
                harmed = bytearray(whole)
                harmed[place] ^= 1 << bit
                path.write_bytes(harmed)
                if path == saved.description:
                    assert description.read(path) is None, (place, bit)
                    continue
                found = state.find(states)
                assert (found.images if found else None) == expected, (path.name, place, bit)
        path.write_bytes(whole)
    assert state.find(states) == saved


def test_two_runs_at_once_train_once_and_both_end_right(tmp_path, dataset, uninterrupted):
    """They share a scratch folder: the second waits, then takes the finished state."""
    roots = [tmp_path / "one", tmp_path / "two"]
    (tmp_path / "shared").mkdir()
    for root in roots:
        root.mkdir()
        (root / "scratch").symlink_to(tmp_path / "shared", target_is_directory=True)
    processes = [start(root, dataset, TRAIN) for root in roots]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    assert [delivered(root) for root in roots] == [uninterrupted, uninterrupted]
    (speeds,) = (tmp_path / "shared").glob("train-*/speed.jsonl")
    ticks = [json.loads(line)["images"] for line in speeds.read_text().splitlines()]
    assert ticks == sorted(set(ticks)), "the second trained too"


def test_what_was_delivered_is_trained_anew_when_asked_anew(tmp_path, dataset, uninterrupted):
    """`dvc repro --force` must not be answered from the state of the run before."""
    _finish(tmp_path, dataset)
    (scratch,) = (tmp_path / "scratch").glob("train-*/")
    (scratch / "of-the-first").touch()
    assert _finish(tmp_path, dataset) == uninterrupted
    assert not (scratch / "of-the-first").exists()
    # the last, for a run that waited, and the best, which it would deliver
    assert len(list(scratch.glob("states/*.json"))) <= 2


def test_what_dvc_did_not_note_is_delivered_again_and_not_trained(tmp_path, dataset, uninterrupted):
    """DVC was killed after the stage ended and before it wrote dvc.lock."""
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    _finish(tmp_path, dataset)
    (scratch,) = (tmp_path / "scratch").glob("train-*/")
    (scratch / "of-the-first").touch()
    for name in ("model", "checkpoints"):
        shutil.rmtree(tmp_path / name)  # as DVC does before it runs a stage
    assert _finish(tmp_path, dataset) == uninterrupted
    assert (scratch / "of-the-first").exists()
    (tmp_path / "dvc.lock").write_text("stages: {}\n")  # it notes what it noted before
    assert _finish(tmp_path, dataset) == uninterrupted
    assert not (scratch / "of-the-first").exists()


# where each field may have its other value: what the sections' checks ask for
ROOMY = TRAIN.model_copy(update={"schedule": "cosine", "augment": "ada", "augment_strength": 0.5})
VALUES = [
    True,
    False,
    3,
    16,
    64,
    0.4,
    0.7,
    "dvc:0123456789abcdef0123456789abcdef.dir",
    "/mnt/states",
]


def _other(params, name):
    """The section with another valid value of one field."""
    kind = type(params)
    described = kind.model_json_schema()["properties"][name]
    kinds = [described, *described.get("anyOf", [])]
    candidates = [value for each in kinds for value in each.get("enum", [])]
    for value in [*candidates, *VALUES]:
        try:
            other = kind.model_validate({**params.model_dump(), name: value})
        except ValidationError:
            continue
        if getattr(other, name) != getattr(params, name):
            return other
    raise AssertionError(f"no other value of {kind.__name__}.{name} is known here")


@pytest.mark.parametrize("name", TrainParams.model_fields)
def test_other_training_never_picks_up_this_state(dataset, name):
    keys = [scratch_key(Dataset(dataset), MODEL, each) for each in (ROOMY, _other(ROOMY, name))]
    assert (keys[0] == keys[1]) == (name in NO_MATTER)


@pytest.mark.parametrize("name", ModelParams.model_fields)
def test_other_networks_never_pick_up_this_state(dataset, name):
    keys = [scratch_key(Dataset(dataset), each, TRAIN) for each in (MODEL, _other(MODEL, name))]
    assert keys[0] != keys[1]


def test_what_does_not_matter_is_where_states_are_copied():
    """And nothing else: whatever joins it must not change a byte."""
    assert {"state_url"} == NO_MATTER


@pytest.mark.slow
def test_another_reference_never_picks_up_this_state(dataset, tmp_path):
    """The best is chosen by it."""
    data, reference = Dataset(dataset), dataset.parent / "reference" / STATISTICS
    other = tmp_path / "reference"
    make_reference(data, data, EvaluateParams(samples=16, seed=2), other)
    other /= STATISTICS
    keys = {scratch_key(data, MODEL, TRAIN, each) for each in (reference, other, None)}
    assert len(keys) == 3
    unmeasured = TRAIN.model_copy(update={"snapshot_samples": 0})
    assert len({scratch_key(data, MODEL, unmeasured, each) for each in (reference, other)}) == 1


def test_a_restored_trainer_is_the_saved_one(tmp_path):
    config = NetworkConfig.of(MODEL, 16, 16, 3)
    trainer = Trainer(Networks.fresh(config, TRAIN), TRAIN)
    torch.manual_seed(0)
    batches = [(torch.randn(8, 3, 16, 16), torch.randn(8, 8)) for _ in range(6)]
    for real, latents in batches[:3]:
        trainer.step(real, latents)
    state.save(trainer, tmp_path)
    other = Trainer(Networks.fresh(config, TRAIN.model_copy(update={"seed": 9})), TRAIN)
    saved = state.find(tmp_path)
    assert saved is not None
    state.restore(other, saved)
    for real, latents in batches[3:]:
        trainer.step(real, latents)
        other.step(real, latents)
    one, two = state.tensors_of(trainer), state.tensors_of(other)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert trainer.means.take() == other.means.take()


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_divergence_stops_with_what_happened_and_what_to_try(tmp_path, dataset, network):
    """Once a weight is not finite, the run ends with a diagnosis and saves no such state."""
    run = Run(Dataset(dataset), NetworkConfig.of(MODEL, 16, 16, 3), TRAIN, tmp_path)
    weight = next(getattr(run.trainer.networks, network).parameters())
    with torch.no_grad():
        weight.fill_(float("nan"))
    with pytest.raises(GanpipeError, match=r"diverged: a weight .* kimg.*train\.lr"):
        run.to_the_end()
    assert not list(run.states.glob("*"))


def test_fewer_images_than_a_batch_is_an_error_with_a_way_out(tmp_path, dataset):
    large = TRAIN.model_copy(update={"batch": 512})
    with pytest.raises(GanpipeError, match=r"train\.batch=512 .* 500 .* 500 or less"):
        run_training(Dataset(dataset), MODEL, large, {}, tmp_path / "scratch")
    assert not list(tmp_path.iterdir())
