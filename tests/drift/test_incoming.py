"""Images that come in are what ingest and preprocess would make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ganpipe.data.dataset import Dataset
from ganpipe.data.ingest import ingest
from ganpipe.data.pixels import Shape
from ganpipe.data.preprocess import preprocess
from ganpipe.data.sources import Entry, make_source
from ganpipe.drift.incoming import chosen, take
from ganpipe.params import DataParams

SHAPE = Shape(16, 12, 3)


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_they_are_checked_and_resized_as_training_data_are(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number in range(12):
        (source / ("cat" if number % 3 else "dog")).mkdir(parents=True, exist_ok=True)
        picture(number).save(source / ("cat" if number % 3 else "dog") / f"{number}.png")
    picture(1).save(source / "dog" / "again.webp", lossless=True)
    picture(90, (40, 5)).save(source / "cat" / "thin.png")
    (source / "cat" / "note.png").write_text("no image")
    (source / "cat" / "cut.png").write_bytes((source / "cat" / "1.png").read_bytes()[:200])
    params = DataParams(source="folder", path=str(source), resolution=(16, 12), test_fraction=0.3)
    found = make_source(params)
    came = take(found, found.entries, SHAPE, params.min_side, labelled=True)
    assert came.set_aside == {
        "duplicate-of": 1,
        "not-an-image": 1,
        "too-small": 1,
        "truncated": 1,
    }
    assert sorted(came.labels) == ["cat"] * 8 + ["dog"] * 4
    ingest(make_source(params), tmp_path / "raw", params)
    sides = {side: tmp_path / side for side in ("train", "test")}
    preprocess(tmp_path / "raw", sides, params)
    trained = [
        image for side in sides.values() for shard in Dataset(side).shards for image in shard
    ]
    assert {image.tobytes() for image in trained} == {image.tobytes() for image in came.images}
    unlabelled = take(found, found.entries, SHAPE, params.min_side, labelled=False)
    assert unlabelled.labels == []


def test_one_image_without_a_class_leaves_all_without(tmp_path: Path) -> None:
    entries = []
    for number in range(3):
        picture(number).save(tmp_path / f"{number}.png")
    source = make_source(DataParams(source="folder", path=str(tmp_path)))
    entries = [entry._replace(label="cat") for entry in source.entries]
    entries[1] = entries[1]._replace(label="")
    assert take(source, entries, SHAPE, 8, labelled=True).labels == []


def test_of_many_some_are_chosen_at_random_and_the_same_each_time() -> None:
    entries = [Entry(f"{number:04}", 1, "") for number in range(1000)]
    assert chosen(entries, 1000, 0) == entries
    some = chosen(entries, 100, 0)
    assert some == chosen(entries, 100, 0) == sorted(some)
    assert len(set(some)) == 100
    assert some != chosen(entries, 100, 1)
    numbers = [int(entry.path) for entry in some]
    assert 400 < np.mean(numbers) < 600
