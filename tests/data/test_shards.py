"""Shards: cut where the paths say so, so that a change touches few of them."""

from hypothesis import given
from hypothesis import strategies as st

from ganpipe.data.shards import cuts

LIMIT = 1000
sizes = st.lists(st.integers(1, 400), min_size=0, max_size=300)


@given(sizes)
def test_cuts_cover_everything_once_in_order_within_the_limit(values):
    files = [(f"{number:05d}", size) for number, size in enumerate(values)]
    ranges = cuts(files, LIMIT)
    assert [n for start, stop in ranges for n in range(start, stop)] == list(range(len(values)))
    for start, stop in ranges:
        assert sum(values[start:stop]) <= LIMIT
        assert stop > start


def test_a_file_above_the_limit_gets_a_shard_of_its_own():
    assert cuts([("a", 10), ("b", 5000), ("c", 10)], LIMIT) == [(0, 1), (1, 2), (2, 3)]


def test_an_addition_in_the_middle_rewrites_only_shards_near_it():
    before = [(f"{n:06d}", 10) for n in range(20_000)]
    added = [(f"010000-{n:02d}", 10) for n in range(50)]
    after = sorted(before + added)

    def shards(files):
        return {tuple(files[start:stop]) for start, stop in cuts(files, LIMIT)}

    assert len(shards(before)) > 200
    assert len(shards(after) - shards(before)) <= 5
