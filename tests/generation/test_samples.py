"""Which images are made: a function of model, seed and number, with exact counts of classes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from ganpipe import serving
from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.generation.samples import scattered
from ganpipe.networks import load_generator
from ganpipe.params.generate import generate_params
from tests.generation.conftest import CLASSES, Make, content


def shards(folder: Path) -> NDArray[np.uint8]:
    found = Dataset(folder)
    return found.batch(np.arange(len(found)))


@pytest.mark.parametrize("rows", [64, 128, 0])
def test_any_size_of_parts_gives_the_images_of_the_seed(
    plain: Path, tmp_path: Path, make: Make, rows: int
) -> None:
    make(plain, tmp_path / "out", n=300, seed=3, format="shards", rows=rows)
    expected = serving.generate(load_generator(plain), 300, 3)
    assert np.array_equal(shards(tmp_path / "out"), expected)


def test_png_files_are_the_same_bytes_whatever_the_size_of_parts(
    classy: Path, tmp_path: Path, make: Make
) -> None:
    for rows in (64, 128, 0):
        make(classy, tmp_path / str(rows), n=200, classes="balanced", rows=rows)
    one, two, three = (content(tmp_path / str(rows)) for rows in (64, 128, 0))
    assert len(one) == 203
    assert one == two == three


def test_fewer_images_of_the_same_request_are_its_first(
    classy: Path, tmp_path: Path, make: Make
) -> None:
    make(classy, tmp_path / "many", n=150, truncation=0.5)
    make(classy, tmp_path / "few", n=70, truncation=0.5)
    many, few = content(tmp_path / "many"), content(tmp_path / "few")
    pictures = [name for name in few if name[0].isdigit()]
    assert len(pictures) == 70
    assert all(few[name] == many[name] for name in pictures)


def labels_of(folder: Path) -> list[str]:
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["label"] for line in lines]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("{cat: 70, 7: 30}", {"cat": 70, "7": 30}),
        ("balanced", {"cat": 34, "dog": 33, "7": 33}),
        ({"dog": 100}, {"dog": 100}),
    ],
)
def test_counts_of_classes_are_exact(
    classy: Path, tmp_path: Path, make: Make, classes: object, expected: dict[str, int]
) -> None:
    written = make(classy, tmp_path / "out", n=100, classes=classes)
    found = labels_of(tmp_path / "out")
    assert {name: found.count(name) for name in set(found)} == expected
    assert written.description["class_counts"] == {name: expected.get(name, 0) for name in CLASSES}


def test_an_image_is_of_the_class_that_is_written_beside_it(
    classy: Path, tmp_path: Path, make: Make
) -> None:
    make(classy, tmp_path / "out", n=100, seed=5, classes="{cat: 20, dog: 50, '7': 30}")
    generator = load_generator(classy)
    each = [serving.generate(generator, 100, 5, label=number) for number in range(3)]
    for place, label in enumerate(labels_of(tmp_path / "out")):
        with Image.open(tmp_path / "out" / f"{place:05d}.png") as picture:
            expected = each[CLASSES.index(label)][place, :, :, 0]
            assert np.array_equal(np.asarray(picture), expected)


def test_any_classes_are_drawn_as_everywhere_else(classy: Path, tmp_path: Path, make: Make) -> None:
    make(classy, tmp_path / "out", n=100, seed=5, format="shards")
    assert np.array_equal(
        shards(tmp_path / "out"), serving.generate(load_generator(classy), 100, 5)
    )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any), st.data())
def test_scattered_classes_are_exact_and_need_no_table(
    counts: list[int], data: st.DataObject
) -> None:
    total = sum(counts)
    cuts = sorted({0, total, *data.draw(st.lists(st.integers(0, total), max_size=4))})
    parts = [scattered(counts, first, stop - first) for first, stop in pairwise(cuts)]
    labels = np.concatenate(parts)
    assert np.array_equal(labels, scattered(counts, 0, total))
    assert np.bincount(labels, minlength=len(counts)).tolist() == counts


def test_scattered_classes_are_mixed_even_in_a_hundred_millions() -> None:
    labels = scattered([60_000_000, 40_000_000], 99_990_000, 10_000)
    assert 0.59 < (labels == 0).mean() < 0.61


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n": 0}, "n=0 is not allowed"),
        ({"n": 10_000_000}, "format=png holds at most 1,000,000"),
        ({"n": 200_000_000, "format": "shards"}, "n=200000000 is not allowed"),
        ({"n": 1_000_000, "filter": "both"}, "at most 100,000"),
        ({"seed": -1}, "seed=-1"),
        ({"truncation": 0.0}, "truncation=0.0"),
        ({"truncation": float("nan")}, "truncation=nan"),
        ({"format": "gif"}, "format=gif"),
        ({"n": 9, "classes": "{cat: 4, dog: 4}"}, "come to 8 images, but n=9"),
        ({"classes": "{cat: -4}"}, "write any, balanced, or counts"),
        ({"classes": "cats"}, "write any, balanced, or counts"),
        ({"classes": "{cat: {dog: 4}}"}, "write any, balanced, or counts"),
        ({"classes": "{cat: 4"}, "write any, balanced, or counts"),
        ({"colour": "red"}, "colour=red is not allowed"),
    ],
)
def test_a_bad_request_names_the_value_and_the_way_out(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(GanpipeError, match=message):
        generate_params(**values)


def test_ten_million_images_are_a_request_for_shards() -> None:
    assert generate_params(n=10_000_000, format="shards").n == 10_000_000


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        (
            "classy",
            "{bird: 64}",
            "there is no class bird; this generator's classes are cat, dog, 7",
        ),
        ("plain", "{cat: 64}", "was trained without classes"),
        ("plain", "balanced", "was trained without classes"),
    ],
)
def test_a_class_that_a_generator_lacks_is_refused(
    plain: Path, classy: Path, tmp_path: Path, make: Make, model: str, classes: str, message: str
) -> None:
    with pytest.raises(GanpipeError, match=message):
        make({"plain": plain, "classy": classy}[model], tmp_path / "out", classes=classes)
    assert list(tmp_path.iterdir()) == []
