"""Many processes are one: the same images, the same weights, and nothing left behind.

Real processes over gloo. A case trains for 100 steps, with both penalties.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import ganpipe
from ganpipe import params
from ganpipe.errors import GanpipeError
from ganpipe.params import TrainParams
from ganpipe.training.batchnorm import SharedBatchNorm
from ganpipe.training.distributed import World, check_shares, connected
from ganpipe.training.launch import is_needed, launch

WORKER = Path(__file__).with_name("distributed_worker.py")
SIZES = (1, 2, 4)
TRAIN = {"batch": 8, "device": "cpu", "precision": "float32", "threads": 1, "r1": 0.3, "r2": 0.7}


def _case(architecture, *, double=True, classes=False, steps=100, **train):
    model = {"architecture": architecture, "width": 4, "max_width": 8, "latent": 8}
    return {
        "model": {**model, "conditional": classes},
        "train": {**TRAIN, **train},
        "classes": classes,
        "steps": steps,
        "double": double,
    }


CASES = {
    "r3gan": _case("r3gan"),
    "resnet": _case("resnet", classes=True, penalty_every=4),
    "dcgan": _case("dcgan"),  # has BatchNorm
    "float32": _case("resnet", double=False),
    "adaptive": _case(
        "resnet", augment="ada", augment_strength=0.3, ada_kimg=1.0, gp=1.0, steps=20
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """All cases on 1, 2 and 4 processes: tensors by case, processes and rank."""
    folder = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    np.save(folder / "images-00000.npy", random.integers(0, 256, (50, 8, 8, 3), np.uint8))
    np.save(folder / "labels.npy", random.integers(0, 3, 50))
    about = {"height": 8, "width": 8, "channels": 3, "classes": ["a", "b", "c"], "sha256": ""}
    (folder / "dataset.json").write_text(json.dumps({**about, "count": 50}))
    (folder / "cases.json").write_text(json.dumps(CASES))
    for size in SIZES:
        command = (sys.executable, str(WORKER), str(folder), str(size))
        launch(TrainParams(batch=8, devices=size), Path.cwd(), command)
    return {
        (name, size, rank): load_file(folder / f"{name}-{size}-{rank}.safetensors")
        for name in CASES
        for size in SIZES
        for rank in range(size)
    }


def _furthest(one, other, start):
    names = [name for name in one if name.startswith(start)]
    assert names
    return max((one[name].double() - other[name].double()).abs().max().item() for name in names)


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", CASES)
def test_all_processes_hold_the_same_bytes(trained, name, size):
    """Weights, moments, averages, BatchNorm's statistics, curves and ada's strength."""
    first = trained[name, size, 0]
    for rank in range(1, size):
        other = trained[name, size, rank]
        assert other.keys() == first.keys()
        assert [key for key in first if not torch.equal(first[key], other[key])] == []


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("r3gan", 1e-10), ("resnet", 1e-10), ("dcgan", 1e-10), ("float32", 5e-4)],
)
def test_weights_are_those_of_one_process(trained, name, tolerance, size):
    one, many = trained[name, 1, 0], trained[name, size, 0]
    assert one.keys() == many.keys()
    for network in ("generator.", "discriminator.", "average."):
        assert _furthest(one, many, network) < tolerance, network


@pytest.mark.parametrize("size", [2, 4])
def test_curves_and_ada_see_the_whole_batch(trained, size):
    """Real-fake pairs across processes too: else the rank, and with it the strength, differ."""
    one, many = trained["adaptive", 1, 0], trained["adaptive", size, 0]
    assert 0.0 < one["augment.strength"] < 0.8
    assert torch.equal(one["augment.strength"], many["augment.strength"])
    assert torch.equal(one["curves.counts"], many["curves.counts"])
    assert torch.allclose(one["curves.sums"], many["curves.sums"], rtol=1e-5)


def test_each_has_learned_something(trained):
    for name in CASES:
        tensors = trained[name, 2, 0]
        away = {
            key: (tensors[key] - tensors[key.replace("generator.", "average.")]).abs().max()
            for key in tensors
            if key.startswith("generator.") and tensors[key].is_floating_point()
        }
        assert max(away.values()) > 1e-4, name


class _Halves(World):
    """Both halves of a batch in one process: what the other half's sums are, computed beside."""

    def sum(self, values):
        return values * 2


def test_a_shared_batchnorm_is_torch_s_own_and_differentiable_twice():
    """Two equal halves have twice the sums of one, so each gives what the whole batch gives."""
    torch.manual_seed(0)
    half = torch.randn(6, 3, 4, 5, dtype=torch.float64)
    own, shared = nn.BatchNorm2d(3, eps=1e-3).double(), SharedBatchNorm(3, eps=1e-3).double()
    with torch.no_grad():
        own.weight.uniform_(0.5, 2.0)
        own.bias.normal_()
    shared.load_state_dict(own.state_dict())
    shared.world = _Halves(0, 2)
    assert torch.allclose(shared(half), own(torch.cat([half, half]))[:6], atol=1e-12)
    for name, value in own.state_dict().items():
        assert torch.allclose(shared.state_dict()[name].double(), value.double()), name
    assert torch.allclose(shared.eval()(half), own.eval()(half))
    shared.train().world = World()
    assert torch.autograd.gradcheck(shared, half.requires_grad_())
    assert torch.autograd.gradgradcheck(shared, half[:2, :2, :2, :2].repeat(1, 2, 1, 1)[:, :3])


@pytest.mark.parametrize(
    ("batch", "devices", "nodes", "words"),
    [
        (100, 8, 1, "train.batch=100 is not a multiple of devices=8: use 96 or 104"),
        (100, 4, 2, "train.batch=100 is not a multiple of devices x nodes=8: use 96 or 104"),
        (3, 4, 1, "train.batch=3 is not a multiple of devices=4: use 4"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused(batch, devices, nodes, words):
    with pytest.raises(GanpipeError, match=f"^{re.escape(words)}$"):
        check_shares(TrainParams(batch=batch, devices=devices, nodes=nodes))


def test_torchrun_with_other_processes_than_the_parameters_say_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    two = TrainParams(devices=2)
    assert not is_needed(two)
    refused = pytest.raises(GanpipeError, match=r"train\.devices=2 .* 4 were started.*-node 2")
    with refused, connected(two):
        pass


def test_several_machines_are_left_to_torchrun(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(GanpipeError, match=r"train\.nodes=2: start `torchrun --nnodes 2"):
        is_needed(TrainParams(nodes=2))
    assert is_needed(TrainParams(devices=2))
    assert not is_needed(TrainParams())


# each process says its id, then meets the others until it is ended
ENDLESS = """
import os, sys, time
from ganpipe.errors import GanpipeError
from ganpipe.params import TrainParams
from ganpipe.supervision import obey
from ganpipe.training.distributed import connected

def work():
    with connected(TrainParams(devices=2, device="cpu")) as world:
        for step in range(10**6):
            if world.any(wish=step == 3):
                # in one piece, whatever the environment says of buffers
                os.write(1, f"process {world.rank} {os.getpid()}\\n".encode())
            if sys.argv[1] == "both" or (sys.argv[1] == "last" and not world.first):
                raise GanpipeError("the disc is full")
            time.sleep(0.01)

obey()
try:
    work()
except GanpipeError as error:
    print(f"error: {error}", flush=True)
    sys.exit(2)
"""
PARENT = """
import sys
from pathlib import Path
from ganpipe.errors import GanpipeError
from ganpipe.params import TrainParams
from ganpipe.training.launch import launch
try:
    launch(TrainParams(devices=2, device="cpu"), Path.cwd(), tuple(sys.argv[1:]))
except GanpipeError as error:
    print(f"error: {error}", flush=True)
    sys.exit(2)
"""


@pytest.fixture
def start():
    """Starts PARENT with two processes of ENDLESS; ends it after the test."""
    parents = []

    def begin(what):
        command = [sys.executable, "-c", PARENT, sys.executable, "-c", ENDLESS, what]
        parent = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        parents.append(parent)
        return parent

    yield begin
    for parent in parents:
        parent.kill()
        parent.communicate()


def _children(parent):
    """The processes' ids by rank, once both have met."""
    found = {}
    while len(found) < 2:
        line = parent.stdout.readline()
        assert line, "ended early"
        if line.startswith("process "):
            _, rank, pid = line.split()
            found[int(rank)] = int(pid)
    return found


def _wait_until_gone(pids, seconds):
    deadline = time.monotonic() + seconds
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.05)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_and_is_named(start, rank):
    parent = start("run")
    children = _children(parent)
    os.kill(children[rank], signal.SIGKILL)
    output = parent.communicate(timeout=30)[0]
    assert parent.returncode == 2
    assert output.startswith(f"error: process {rank} of the 2 that train was killed by SIGKILL")
    assert output.count("\n") == 1, output  # and nothing of the one that lost it
    _wait_until_gone(children.values(), 5)


def test_processes_never_outlive_the_one_that_started_them(start):
    parent = start("run")
    children = _children(parent)
    os.kill(parent.pid, signal.SIGKILL)
    _wait_until_gone(children.values(), 20)


def test_sigterm_reaches_all(start):
    parent = start("run")
    children = _children(parent)
    parent.terminate()
    assert parent.wait(timeout=20) == 128 + signal.SIGTERM
    _wait_until_gone(children.values(), 5)


@pytest.mark.parametrize("who", ["both", "last"])
def test_what_went_wrong_is_said_once(start, who):
    parent = start(who)
    output = parent.communicate(timeout=60)[0]
    assert parent.returncode == 2
    assert output == "error: the disc is full\n"


STAGE = ("-m", "ganpipe", "stage", "train")


@pytest.fixture
def stage(tmp_path):
    """Makes a folder in which the stage `train` runs on two processes."""

    def make(name):
        folder = tmp_path / name
        data = folder / "data" / "train"
        data.mkdir(parents=True)
        random = np.random.default_rng(0)
        np.save(data / "images-00000.npy", random.integers(0, 256, (500, 8, 8, 3), np.uint8))
        about = {"height": 8, "width": 8, "channels": 3, "classes": [], "count": 500}
        (data / "dataset.json").write_text(json.dumps({**about, "sha256": "0" * 64}))
        (folder / "data" / "start").mkdir()
        (folder / "data" / "start" / "scratch").touch()
        wanted = ["model.width=4", "model.max_width=8", "model.latent=8", "train.kimg=4"]
        wanted += ["train.batch=32", "train.devices=2", "train.device=cpu", "train.threads=1"]
        wanted += ["train.precision=float32", "train.snapshot_samples=0", "train.tick_kimg=0.5"]
        # a snapshot without a point of the curves, too: only the first process has values then
        wanted += ["train.snapshot_kimg=0.6", "train.state_kimg=0.25"]
        params.write(params.override(params.Params(), wanted), folder / "params.yaml")
        return folder

    return make


def _run(folder, *command):
    root = Path(ganpipe.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    environment.pop("GANPIPE_STATE", None)
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment)


def _outputs(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for output in ("model", "checkpoints")
        for path in sorted((folder / output).rglob("*"))
        if path.is_file()
    }


def _after_states(folder, process, count):
    """Return once the stage has left this many more states."""
    seen = set()
    before = set(folder.glob(".ganpipe/scratch/*/states/*.json"))
    deadline = time.monotonic() + 120
    while len(seen - before) < count:
        seen |= set(folder.glob(".ganpipe/scratch/*/states/*.json"))
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_the_stage_on_two_processes_stopped_and_gone_on_gives_the_same_bytes(stage):
    """Ended by SIGTERM, then under torchrun with a worker killed, which starts both again."""
    whole, cut = stage("whole"), stage("cut")
    assert _run(whole, *STAGE).wait(timeout=300) == 0
    process = _run(cut, *STAGE)
    _after_states(cut, process, 1)
    process.terminate()
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1")
    process = _run(cut, *torchrun, "--nproc-per-node", "2", "--max-restarts", "1", *STAGE)
    _after_states(cut, process, 1)
    psutil.Process(process.pid).children()[-1].kill()
    assert process.wait(timeout=300) == 0
    assert _outputs(cut) == _outputs(whole)
    assert len(_outputs(whole)) > 5
