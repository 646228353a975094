"""A file counts again when it changed, and what was kept survives damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganpipe.data.sources import Entry
from ganpipe.drift import seen

ENTRIES = [Entry("a.png", 10, "t1"), Entry("b.png", 10, "t1"), Entry("\udcff.png", 10, "t1")]


def test_path_size_and_time_make_the_mark() -> None:
    known = seen.marks(ENTRIES)
    assert len(set(known.tolist())) == 3
    changed = [Entry("a.png", 10, "t2"), Entry("a.png", 11, "t1"), Entry("c.png", 10, "t1")]
    assert not np.isin(seen.marks(changed), known).any()
    # what else a listing says is about the same bytes
    assert np.isin(seen.marks([Entry("a.png", 10, "t1", label="cat")]), known).all()
    assert len(seen.marks([])) == 0


def test_what_was_written_is_read_and_what_is_damaged_is_as_if_nothing_was_seen(
    tmp_path: Path,
) -> None:
    path = tmp_path / "of" / "seen.npy"
    assert len(seen.read(path)) == 0
    seen.write(path, seen.marks(ENTRIES))
    assert np.isin(seen.marks(ENTRIES), seen.read(path)).all()
    for damaged in (b"", path.read_bytes()[:-1], b"rubbish"):
        path.write_bytes(damaged)
        assert len(seen.read(path)) == 0
