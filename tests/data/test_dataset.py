"""A data set on disk: any images in any order, and little memory however large it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ganpipe.data import dataset
from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError


def write(folder: Path, parts: list[int], side: int = 8) -> np.ndarray:
    """A data set of random images in shards of these lengths; returns all of them."""
    images = np.random.default_rng(0).integers(0, 256, (sum(parts), side, side, 3), np.uint8)
    folder.mkdir()
    for number, stop in enumerate(np.cumsum(parts)):
        np.save(folder / f"images-{number:05d}.npy", images[stop - parts[number] : stop])
    about = {"height": side, "width": side, "channels": 3, "classes": [], "sha256": "x"}
    (folder / "dataset.json").write_text(json.dumps({**about, "count": len(images)}))
    return images


def test_a_batch_gathers_across_shards_in_the_order_asked(tmp_path: Path) -> None:
    images = write(tmp_path / "set", [7, 1, 12])
    data = Dataset(tmp_path / "set")
    for order in ([9, 0, 7, 6, 3, 7, 19], [8], [], list(range(20))):
        found = data.batch(np.array(order, dtype=np.int64))
        assert found.dtype == np.uint8
        assert np.array_equal(found, images[order])
    assert len(data) == 20
    assert data.labels is None


def test_labels_are_read_when_there_are_some(tmp_path: Path) -> None:
    write(tmp_path / "set", [4])
    np.save(tmp_path / "set" / "labels.npy", np.array([3, 1, 0, 2], dtype=np.int64))
    assert Dataset(tmp_path / "set").labels.tolist() == [3, 1, 0, 2]


def test_images_are_right_after_their_pages_were_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write(tmp_path / "set", [7, 1, 12])
    monkeypatch.setattr(dataset, "RESIDENT_BYTES", 3 * 2**16)
    data = Dataset(tmp_path / "set")
    mapped = {id(data.shards[0])}
    kept = data.batch(np.array([2, 8]))
    for turn in range(12):
        order = np.array([turn, 19 - turn, 7])
        assert np.array_equal(data.batch(order), images[order])
        mapped.add(id(data.shards[0]))
    assert len(mapped) > 1
    assert np.array_equal(kept, images[[2, 8]])


def test_missing_shards_are_noticed(tmp_path: Path) -> None:
    write(tmp_path / "set", [7, 1, 12])
    (tmp_path / "set" / "images-00001.npy").unlink()
    with pytest.raises(GanpipeError, match=r"holds 19 images but.*says 20: run the stage preproc"):
        Dataset(tmp_path / "set")
    with pytest.raises(GanpipeError, match=r"is no data set.*run the stage preprocess"):
        Dataset(tmp_path)


READ_ALL_OVER = """
import sys
import numpy as np
from ganpipe.data.dataset import Dataset

def mapped():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))

data = Dataset(sys.argv[1])
order = np.random.default_rng(0).permutation(len(data))[:20_480]
base, most = mapped(), 0
for numbers in order.reshape(-1, 64):
    batch = data.batch(numbers)
    most = max(most, mapped() - base)
print(most, len(data))
"""


def test_memory_stays_bounded_when_a_large_set_is_read_all_over(tmp_path: Path) -> None:
    """2 GiB in a sparse shard, of which 20,480 images in random order touch more than 1 GiB."""
    folder, one = tmp_path / "set", 64 * 64 * 3
    count = 2**31 // one
    write(folder, [0], 64)
    with (folder / "images-00000.npy").open("wb") as shard:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 64, 64, 3)}
        np.lib.format.write_array_header_1_0(shard, header)
        shard.truncate(shard.tell() + count * one)
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**about, "count": count}))
    run = subprocess.run(
        [sys.executable, "-c", READ_ALL_OVER, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    most, length = map(int, run.stdout.split())
    assert length == count
    assert most < 2**28 + 2**26


def test_more_shards_than_a_process_may_usually_open(tmp_path: Path) -> None:
    write(tmp_path / "set", [1] * 1100, side=2)
    code = (
        "import resource, sys; import numpy as np;"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1];"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard));"
        "from ganpipe.data.dataset import Dataset;"
        "print(Dataset(sys.argv[1]).batch(np.arange(1100)).shape)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "(1100, 2, 2, 3)", done.stderr
