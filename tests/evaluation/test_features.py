"""Feature files: whole or absent, and never with a NaN inside."""

import numpy as np
import pytest

from ganpipe.errors import GanpipeError
from ganpipe.evaluation import features


def _vectors(count, size=6):
    return np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)


def test_what_is_written_in_blocks_is_read_back_mapped(tmp_path):
    vectors = _vectors(11)
    with features.writing(tmp_path / "real.npy", 11, 6) as file:
        for block in features.blocks(vectors, rows=4):
            file.add(block)
    back = features.read(tmp_path / "real.npy")
    assert isinstance(back, np.memmap)
    assert np.array_equal(back, vectors)
    assert np.array_equal(np.load(tmp_path / "real.npy"), vectors)  # a plain numpy file


def test_a_file_that_was_not_filled_never_appears(tmp_path):
    with (
        pytest.raises(ValueError, match="7 of 11"),
        features.writing(tmp_path / "real.npy", 11, 6) as file,
    ):
        file.add(_vectors(7))
    assert list(tmp_path.iterdir()) == []


def test_broken_features_are_not_stored(tmp_path):
    vectors = _vectors(4)
    vectors[2, 3] = np.nan
    with (
        pytest.raises(GanpipeError, match="NaN"),
        features.writing(tmp_path / "real.npy", 4, 6) as file,
    ):
        file.add(vectors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(12, 6), (3, 5)])
def test_features_that_do_not_fit_are_refused(tmp_path, shape):
    with (
        pytest.raises(ValueError, match="do not fit"),
        features.writing(tmp_path / "real.npy", 11, 6) as file,
    ):
        file.add(np.zeros(shape, np.float32))


def test_other_arrays_and_missing_files_are_named(tmp_path):
    np.save(tmp_path / "old.npy", np.zeros((3, 4)))
    with pytest.raises(GanpipeError, match=r"old.npy holds float64 \[3, 4\]"):
        features.read(tmp_path / "old.npy")
    with pytest.raises(GanpipeError, match=r"none.npy is missing"):
        features.read(tmp_path / "none.npy")


def test_a_sample_is_the_same_for_the_same_seed_and_without_repeats():
    vectors = _vectors(200)
    one = features.some(vectors, 50, seed=1, purpose="manifold")
    assert np.array_equal(one, features.some(vectors, 50, seed=1, purpose="manifold"))
    assert not np.array_equal(one, features.some(vectors, 50, seed=2, purpose="manifold"))
    assert len(np.unique(one, axis=0)) == 50
    assert features.some(vectors, 200, seed=1, purpose="manifold") is vectors
