"""Size of the exact state at the paper's FFHQ-256 size, and the time to save and restore it."""

from __future__ import annotations

import copy
from statistics import median

import torch
from safetensors.torch import save_file

from ganpipe import presets
from ganpipe.files import sha256
from ganpipe.networks import NetworkConfig
from ganpipe.params import TrainParams
from ganpipe.training import state
from ganpipe.training.trainer import Networks, Trainer
from tests.benchmarks.figures import Figure, interleaved
from tests.benchmarks.training.place import Place

FULL, QUICK = ("r3gan-ffhq256", 256), ("r3gan-tiny", 28)
BATCH, REPETITIONS = 2, 3


def measure(place: Place) -> list[Figure]:
    """Bytes and seconds for both networks, their average and Adam's moments after one step.

    The parts of a save are timed apart from it, each on its own. Reads come from the page cache.
    """
    preset, size = QUICK if place.quick else FULL
    config = NetworkConfig.of(presets.load(preset).model, size, size, 3)
    train = presets.load(preset).train.model_copy(
        update={"batch": BATCH, "device": "cpu", "precision": "float32", "augment": "none"}
    )
    torch.set_num_threads(place.threads)
    trainer = _stepped(config, train)
    folder = place.below("checkpoint") / "states"
    both = (trainer.networks.generator, trainer.networks.discriminator)
    generator, discriminator = (sum(w.numel() for w in each.parameters()) for each in both)
    state.save(trainer, folder)
    (written,) = folder.glob("*.safetensors")
    saved = state.find(folder)
    assert saved is not None
    tensors = state.tensors_of(trainer)
    cpu = {key: value.cpu().contiguous() for key, value in tensors.items()}
    other = Trainer(copy.deepcopy(trainer.networks), train)
    seconds = interleaved(
        REPETITIONS,
        {
            "save": lambda: state.save(trainer, folder),
            "save: copy of the tensors, as from a GPU": lambda: [t.clone() for t in cpu.values()],
            "save: write, without fsync": lambda: save_file(cpu, folder / "again"),
            "save: sha256 of the file": lambda: sha256(written),
            "find the newest, with its sha256": lambda: state.find(folder),
            "restore": lambda: state.restore(other, saved),
        },
    )
    _same(trainer, other)
    return [
        Figure("weights of the generator", generator / 1e6, "million"),
        Figure("weights of the discriminator", discriminator / 1e6, "million"),
        Figure("bytes of the state", written.stat().st_size / 1e6, "MB"),
        Figure("bytes of the kept states", state.KEPT * written.stat().st_size / 1e6, "MB"),
        *(Figure(name, median(taken), "s", samples=taken) for name, taken in seconds.items()),
    ]


def _stepped(config: NetworkConfig, train: TrainParams) -> Trainer:
    """A trainer after one step, so that Adam has its moments."""
    trainer = Trainer(Networks.fresh(config, train), train)
    shape = (BATCH, config.image_channels, config.image_height, config.image_width)
    trainer.step(torch.randn(shape), torch.randn(BATCH, config.latent))
    return trainer


def _same(one: Trainer, other: Trainer) -> None:
    """Raise AssertionError unless both have the same state to the bit."""
    left, right = state.tensors_of(one), state.tensors_of(other)
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert torch.equal(value, right[key]), key
