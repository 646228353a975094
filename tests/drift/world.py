"""A repository whose champion has a real reference, and folders of digits to be watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits

from ganpipe import params
from ganpipe.workspace import git
from tests.flows.registered import PIPELINE, Repository

TRAINED_ON = 700
# real images and a real reference in place of made-up ones; the distance is made up as before
REAL = """
import json, pathlib, sys
from ganpipe import params
from ganpipe.data.dataset import Dataset
from ganpipe.data.ingest import ingest
from ganpipe.data.preprocess import preprocess as resize
from ganpipe.data.sources import make_source
from ganpipe.evaluation.real_images import make_reference
from ganpipe.files import read_json, sha256, write_json

def preprocess(chosen, data):
    ingest(make_source(chosen.data), data / "raw", chosen.data)
    resize(data / "raw", {side: data / side for side in ("train", "test")}, chosen.data)

def reference(chosen, data):
    sides = (Dataset(data / side) for side in ("train", "test"))
    make_reference(*sides, chosen.evaluate, data / "reference")

def train(chosen, data):
    import torch
    from ganpipe.networks import Generator, NetworkConfig, build_generator, save_generator
    torch.manual_seed(chosen.train.seed)
    config = NetworkConfig("dcgan", 16, 4, 16, 16, 16, 1)
    (data.parent / "model").mkdir()
    images = int(chosen.train.kimg * 1000)
    save_generator(data.parent / "model", Generator(build_generator(config), config, [], images))

def evaluate(chosen, data):
    protocol = read_json(data / "reference/reference.json")["protocol"]
    suffix = protocol["metric"].partition("_")[2]
    model, report = data.parent / "model", data.parent / "report"
    value = read_json(model / "generator.json")["images"] / 1000
    row = dict(means="", protocol="", note="", champion=None, champion_low=None,
               champion_high=None, low=None, high=None, floor=None)
    measures = [
        row | dict(name=protocol["metric"], value=value, better="lower"),
        row | dict(name=f"recall_{suffix}", value=0.5, better="higher"),
        row | dict(name=f"coverage_{suffix}", value=0.5, better="higher"),
        row | dict(name=f"kid_{suffix}", value=0.5, low=0.4, high=0.6, better="lower"),
    ]
    verdict = dict(finding="nothing found", evidence=[], seen=[], opening="No copying was found.")
    about = dict(title="t", generator_sha256=sha256(model / "generator.safetensors"), warnings=[],
                 lineage={}, protocol=protocol)
    write_json(report / "evaluation.json", about | dict(measures=measures, memorisation=verdict))
    numbers = {each["name"]: each["value"] for each in measures}
    write_json(report / "metrics.json", numbers | {f"floor_{protocol['metric']}": 2.0})

if __name__ == "__main__":
    chosen = params.load()
    globals()[sys.argv[1]](chosen, pathlib.Path(__file__).parent / "data")
"""
ASKED = (
    "data.source=folder",
    "data.resolution=16",
    "data.test_fraction=0.3",
    "evaluate.extractor=classifier",
    "evaluate.samples=250",
    "evaluate.threads=1",
    "register.gate=better",
)
Change = Callable[[Image.Image], Image.Image]


class World(Repository):
    """Version 1 is champion: it learnt from the digits in `trained`."""

    def __init__(self, folder: Path, code: Path) -> None:
        super().__init__(folder / "repo", code)
        self.trained = digits(folder / "trained", range(TRAINED_ON))
        (self.folder / "make.py").write_text(REAL)
        pipeline = PIPELINE.replace("[data.min_side]", "[data]").replace(
            "[evaluate.samples]", "[evaluate]"
        )
        pipeline = pipeline.replace("outs: [data/train", "outs: [data/raw, data/train")
        (self.folder / "dvc.yaml").write_text(pipeline)
        chosen = params.override(
            params.load(self.folder / "params.yaml"), [*ASKED, f"data.path={self.trained}"]
        )
        params.write(chosen, self.folder / "params.yaml")
        git(self.folder, "commit", "--quiet", "--all", "-m", "real images")
        assert self.register(1, 20.0).alias == "champion"


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.images))
    return (found.images * 15.9).astype(np.uint8)[order], found.target[order]


def unseen(seed: int, count: int, classes: Iterable[int] = range(10)) -> list[int]:
    """Numbers of digits that nobody trained on, chosen at random."""
    _, labels = _digits()
    rest = np.flatnonzero(np.isin(labels, list(classes)))
    rest = rest[rest >= TRAINED_ON]
    return list(np.random.default_rng(seed).permutation(rest)[:count])


def digits(
    folder: Path,
    numbers: Iterable[int],
    change: Change = lambda image: image,
    name: Callable[[int], str] = str,
    flat: bool = False,
) -> Path:
    """Write some digits as PNG files, in a sub-folder for each class unless `flat`."""
    images, labels = _digits()
    for number in numbers:
        place = folder if flat else folder / name(labels[number])
        place.mkdir(parents=True, exist_ok=True)
        change(Image.fromarray(images[number])).save(place / f"{number:04}.png")
    return folder


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.8))


def inverted(image: Image.Image) -> Image.Image:
    return image.point(lambda value: 255 - value)
