"""Near duplicates: what the bands find is what a look at every pair finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ganpipe.data import near
from ganpipe.data.near import near_duplicates


@st.composite
def hashes(draw: st.DrawFn) -> list[int]:
    """Some hashes, many of them a few bits from others."""
    seeds = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=10)
    found = []
    for _ in range(draw(st.integers(0, 24))):
        value = draw(st.sampled_from(seeds))
        for bit in draw(flips):
            value ^= 1 << bit
        found.append(value)
    return found


def looked_at_all(
    values: list[int], sides: list[str], labels: list[str], distance: int, across: bool
) -> dict[int, int]:
    """The definition: in order, against every image that was kept."""
    repeats: dict[int, int] = {}
    for number, value in enumerate(values):
        for earlier in range(number):
            close = (value ^ values[earlier]).bit_count() <= distance
            alike = not across and labels[number] == labels[earlier]
            counts = alike or sides[number] != sides[earlier]
            if close and counts and earlier not in repeats:
                repeats[number] = earlier
                break
    return repeats


@settings(deadline=None, max_examples=300)
@given(hashes(), st.integers(0, 8), st.booleans(), st.data())
def test_the_same_are_found_as_by_looking_at_every_pair(
    values: list[int], distance: int, across: bool, data: st.DataObject
) -> None:
    sides = [data.draw(st.sampled_from(["train", "test"])) for _ in values]
    labels = [data.draw(st.sampled_from(["", "cat"])) for _ in values]
    found = near_duplicates(np.array(values, np.uint64), sides, labels, distance, across=across)
    assert found == looked_at_all(values, sides, labels, distance, across)


@settings(deadline=None, max_examples=60)
@given(hashes(), st.integers(0, 8), st.integers(1, 40))
def test_big_buckets_are_looked_at_in_parts(values: list[int], distance: int, pairs: int) -> None:
    array = np.array(values, np.uint64)
    sides, labels = ["train"] * len(values), [""] * len(values)
    before, near._PAIRS_AT_ONCE = near._PAIRS_AT_ONCE, pairs
    try:
        found = near_duplicates(array, sides, labels, distance, across=False)
    finally:
        near._PAIRS_AT_ONCE = before
    assert found == looked_at_all(values, sides, labels, distance, across=False)


def test_set_aside_images_set_nothing_aside() -> None:
    chain = np.array([0b000, 0b011, 0b1111, 0b111111], np.uint64)
    assert near_duplicates(chain, ["train"] * 4, [""] * 4, 2, across=False) == {1: 0, 3: 2}


def test_across_the_sides_only_the_other_side_counts() -> None:
    same = np.zeros(4, np.uint64)
    sides = ["train", "train", "test", "train"]
    assert near_duplicates(same, sides, [""] * 4, 4, across=True) == {2: 0}
    assert near_duplicates(same, sides, [""] * 4, 4, across=False) == {1: 0, 2: 0, 3: 0}


def test_on_one_side_only_images_of_one_class_are_alike_and_across_sides_all_are() -> None:
    same = np.zeros(4, np.uint64)
    sides, labels = ["train", "train", "test", "train"], ["red", "blue", "blue", "red"]
    assert near_duplicates(same, sides, labels, 4, across=False) == {2: 0, 3: 0}
    assert near_duplicates(same, sides, labels, 4, across=True) == {2: 0}


def test_thousands_of_equal_pictures_take_no_time_or_room() -> None:
    equal = np.zeros(200_000, np.uint64)
    found = near_duplicates(equal, ["train"] * len(equal), [""] * len(equal), 8, across=False)
    assert len(found) == len(equal) - 1
    assert set(found.values()) == {0}
