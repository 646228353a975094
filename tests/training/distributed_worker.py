"""One of the processes of test_distributed.py: trains on its share, leaves what it came to.

Arguments: a folder with cases.json ({name: {model, train, classes, steps, double}}) and a data
set, and how many processes train.
"""

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from ganpipe.compute import settle
from ganpipe.data.dataset import Dataset
from ganpipe.networks import NetworkConfig
from ganpipe.params import ModelParams, TrainParams
from ganpipe.training import augment, state
from ganpipe.training.batches import Batches
from ganpipe.training.distributed import World, connected
from ganpipe.training.trainer import Networks, Trainer


def train(case, dataset: Dataset, world: World) -> dict:
    params = TrainParams(**case["train"])
    labels = dataset.labels if case["classes"] else None
    shape = (dataset.height, dataset.width, dataset.channels)
    config = NetworkConfig.of(ModelParams(**case["model"]), *shape, len(dataset.classes))
    networks = Networks.fresh(config, params)
    if case["double"]:
        for network in (networks.generator, networks.discriminator, networks.average):
            network.double()
    trainer = Trainer(networks, params, world)
    shown = (params.seed, params.batch, config.latent)
    batches = Batches(dataset, *shown, labels=labels, draws=augment.DRAWS, world=world)
    for _ in range(case["steps"]):
        batch = batches.at(trainer.images)
        if case["double"]:
            batch = batch._replace(real=batch.real.double(), latents=batch.latents.double())
        trainer.step(*batch)
    return {name: tensor.contiguous() for name, tensor in state.tensors_of(trainer).items()}


def main() -> None:
    folder, size = Path(sys.argv[1]), int(sys.argv[2])
    settle(1)
    cases = json.loads((folder / "cases.json").read_text())
    with connected(TrainParams(batch=8, devices=size, device="cpu")) as world:
        for name, case in cases.items():
            learned = train(case, Dataset(folder), world)
            save_file(learned, folder / f"{name}-{world.size}-{world.rank}.safetensors")


if __name__ == "__main__":
    main()
