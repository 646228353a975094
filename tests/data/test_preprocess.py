"""From files in a source to shards: nothing lost, nothing half-written, the same anywhere."""

from __future__ import annotations

import hashlib
import importlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganpipe.data import preprocess as module
from ganpipe.data.dataset import Dataset
from ganpipe.data.ingest import ingest
from ganpipe.data.manifest import COLUMNS, read_manifest, write_manifest
from ganpipe.data.pack import Member, offsets, record, write_shard
from ganpipe.data.pixels import Shape, to_pixels
from ganpipe.data.preprocess import preprocess
from ganpipe.data.sources.digits import Digits
from ganpipe.errors import GanpipeError
from ganpipe.files import write_json
from ganpipe.params import ComputeParams
from tests.data.conftest import ONE, Pile, chosen, encoded, noise, pile_of, png, tree


def sides(output: Path) -> dict[str, Path]:
    return {split: output / split for split in ("train", "test")}


def made(files: dict[str, bytes] | Pile, output: Path, **changes: Any) -> tuple[Dataset, Dataset]:
    """Ingest and preprocess; the two data sets."""
    pile = files if isinstance(files, Pile) else Pile(files)
    ingest(pile, output / "raw", chosen(**changes), ONE)
    preprocess(output / "raw", sides(output), chosen(**changes), ONE)
    return Dataset(output / "train"), Dataset(output / "test")


def test_digits_come_out_pixel_for_pixel(tmp_path: Path) -> None:
    source = Digits()
    params = chosen(test_fraction=0.1, resolution=8)
    ingest(source, tmp_path / "raw", params, ONE)
    counts = preprocess(tmp_path / "raw", sides(tmp_path), params, ONE)
    sets = {split: Dataset(folder) for split, folder in sides(tmp_path).items()}
    assert counts == {split: len(one) for split, one in sets.items()}
    found = {
        bytes(image) + bytes([label])
        for one in sets.values()
        for image, label in zip(one.batch(np.arange(len(one))), one.labels, strict=True)
    }
    expected = {
        bytes(image) + bytes([label])
        for image, label in zip(source.images, source.labels, strict=True)
    }
    assert found == expected
    assert sum(counts.values()) == 1797
    assert 0.07 < counts["test"] / 1797 < 0.13


def test_the_description_says_what_there_is(tmp_path: Path) -> None:
    how = {"crop": "letterbox", "resize": "area", "background": "#102030"}
    train, _ = made(pile_of(20), tmp_path, resolution=[8, 6], **how)
    rows = read_manifest(tmp_path / "raw")
    rows = rows[rows["split"] == "train"]
    images = train.batch(np.arange(len(train)))
    content = images.tobytes() + np.array(train.labels, dtype=np.int64).tobytes()
    assert module.read_json(tmp_path / "train" / "dataset.json") == {
        "height": 8,
        "width": 6,
        "channels": 3,
        "classes": ["a", "b"],
        **how,
        "count": len(rows),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    assert tree(tmp_path / "train").keys() == {"images-00000.npy", "labels.npy", "dataset.json"}
    assert train.labels.tolist() == ["ab".index(label) for label in rows["label"]]
    shape = Shape(8, 6, 3, **how)
    expected = [to_pixels(pile_of(20)[path], shape) for path in rows["path"]]
    assert np.array_equal(images, expected)
    shard = np.load(tmp_path / "train" / "images-00000.npy")
    assert (shard.dtype, shard.shape) == (np.uint8, (len(rows), 8, 6, 3))


def test_without_classes_there_are_no_labels(tmp_path: Path) -> None:
    train, test = made({**pile_of(20), "nowhere.png": png(99)}, tmp_path)
    assert train.labels is None
    assert test.classes == []
    content = train.batch(np.arange(len(train))).tobytes()
    assert train.sha256 == hashlib.sha256(content).hexdigest()


def test_classes_are_numbered_in_the_order_of_the_source(tmp_path: Path) -> None:
    files = {f"ant/{n}": encoded(np.full((9, 9, 3), (255, 255, n), np.uint8)) for n in range(16)}
    files |= {f"zebra/{n}": encoded(np.full((9, 9, 3), (0, 0, n), np.uint8)) for n in range(16)}
    for order in ([], ["zebra", "ant"]):
        train, _ = made(Pile(files, classes=order), tmp_path)
        assert train.classes == (order or ["ant", "zebra"])
        ants = train.batch(np.arange(len(train)))[train.labels == train.classes.index("ant")]
        assert len(ants) > 4
        assert {tuple(image[0, 0, :2]) for image in ants} == {(255, 255)}


@pytest.mark.parametrize(("processes", "files"), [(1, 5), (2, 1), (3, 7)])
def test_processes_and_chunks_change_no_byte(
    tmp_path: Path, in_chunks: Callable[[int], None], processes: int, files: int
) -> None:
    params = chosen(resolution=8, resize="bicubic")
    pile = {**pile_of(30), "b/x.jpg": encoded(Image.fromarray(noise(77, 200, 90)), "JPEG")}
    ingest(Pile(pile), tmp_path / "raw", params, ONE)
    preprocess(tmp_path / "raw", sides(tmp_path / "one"), params, ONE)
    in_chunks(files)
    compute = ComputeParams(processes=processes)
    preprocess(tmp_path / "raw", sides(tmp_path / "other"), params, compute)
    assert tree(tmp_path / "one") == tree(tmp_path / "other")
    assert len(tree(tmp_path / "one")) == 6


def test_shards_are_cut_and_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = module.cuts
    monkeypatch.setattr(module, "cuts", lambda files: cuts(files, 2000))
    train, _ = made(pile_of(30), tmp_path)
    assert len(list((tmp_path / "train").glob("images-*.npy"))) >= 4
    rows = read_manifest(tmp_path / "raw")
    paths = rows.loc[rows["split"] == "train", "path"]
    expected = [to_pixels(pile_of(30)[path], Shape(10, 12, 3)) for path in paths]
    assert np.array_equal(train.batch(np.arange(len(train))), expected)


def test_mixed_sizes_need_a_resolution_and_leave_nothing(tmp_path: Path) -> None:
    files = {**pile_of(12), **{f"a/x{n}.png": png(50 + n, 24, 20) for n in range(16)}}
    with pytest.raises(GanpipeError, match=r"20x24 \(16\), 10x12 \(12\); .*data\.resolution=64"):
        made(files, tmp_path)
    assert [child.name for child in tmp_path.iterdir()] == ["raw"]
    train, _ = made(files, tmp_path, resolution=8)
    assert (train.height, train.width, train.channels) == (8, 8, 3)


def test_a_source_may_choose_the_resolution_and_parameters_overrule_it(tmp_path: Path) -> None:
    pile = Pile(pile_of(20))
    pile.resolution = 16
    assert made(pile, tmp_path)[0].height == 16
    train, _ = made(pile, tmp_path, resolution=[4, 9])
    assert (train.height, train.width) == (4, 9)


def test_grey_is_found_and_can_be_asked_for(tmp_path: Path) -> None:
    grey = {f"{n}.png": encoded(noise(n)[..., 0]) for n in range(20)}
    assert made(grey, tmp_path)[0].channels == 1
    assert made(grey, tmp_path, channels="rgb")[0].channels == 3
    assert made(pile_of(20), tmp_path)[0].channels == 3
    assert made(pile_of(20), tmp_path, channels="grey")[0].channels == 1


def test_a_failure_in_any_part_leaves_both_sides_as_they_were(tmp_path: Path) -> None:
    made(pile_of(30), tmp_path)
    before = {split: tree(folder) for split, folder in sides(tmp_path).items()}
    ingest(Pile(pile_of(30, first=40)), tmp_path / "raw", chosen(), ONE)
    rows = read_manifest(tmp_path / "raw")
    last = rows[rows["split"] == "test"].iloc[-1]
    with (tmp_path / "raw" / last["shard"]).open("r+b") as shard:
        shard.seek(last["offset"])
        shard.write(bytes(last["bytes"]))
    with pytest.raises(Exception, match="cannot identify image"):
        preprocess(tmp_path / "raw", sides(tmp_path), chosen(), ONE)
    assert {split: tree(folder) for split, folder in sides(tmp_path).items()} == before
    assert {child.name for child in tmp_path.iterdir()} == {"raw", "train", "test"}


def test_an_image_that_ends_its_workers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(Pile(pile_of(20)), tmp_path / "raw", chosen(), ONE)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        jobs = importlib.import_module("worker_jobs")
        patch.setattr(module, "all_to_pixels", jobs.resize_none)
        with pytest.raises(GanpipeError, match=r"'a/0000\.png' ended every process"):
            preprocess(tmp_path / "raw", sides(tmp_path), chosen(), ONE)


def test_without_ingest_there_is_nothing_to_preprocess(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(GanpipeError, match="run the stage ingest first"):
        preprocess(tmp_path / "raw", sides(tmp_path), chosen(), ONE)


def test_large_results_go_in_small_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded whatever the resolution: 64 results of 4096 x 4096 are 3 GB."""
    ingest(Pile(pile_of(30)), tmp_path / "raw", chosen(), ONE)
    seen: list[int] = []
    chunks = module._chunks

    def watched(payloads: Any, most: int) -> Any:
        for names, chunk in chunks(payloads, most):
            seen.append(len(chunk))
            yield names, chunk

    monkeypatch.setattr(module, "_chunks", watched)
    monkeypatch.setattr(module, "CHUNK_PIXELS", 3 * 10 * 12 * 3 + 1)
    preprocess(tmp_path / "raw", sides(tmp_path), chosen(), ONE)
    assert max(seen) == 3
    assert sum(seen) == 30
    monkeypatch.setattr(module, "CHUNK_PIXELS", 1)
    seen.clear()
    preprocess(tmp_path / "raw", sides(tmp_path), chosen(), ONE)
    assert set(seen) == {1}


def packed(folder: Path, count: int, payload: bytes) -> None:
    """A data/raw of one image again and again, under different names."""
    import pandas as pd

    folder.mkdir()
    digest = hashlib.sha256(payload).hexdigest()
    members = [Member(f"{n:06d}.png", len(payload), digest) for n in range(count)]
    write_shard(folder / "raw-00000.tar", (record(member, payload) for member in members))
    frame = pd.DataFrame({"path": [member.path for member in members]})
    values = {
        **dict.fromkeys(COLUMNS, ""),
        **{"sha256": digest, "bytes": len(payload), "format": "PNG", "width": 8, "height": 8},
        **{"mode": "RGB", "split": "train", "status": "ok", "shard": "raw-00000.tar"},
        "offset": offsets(members),
    }
    del values["path"]
    write_manifest(frame.assign(**values)[list(COLUMNS)].astype(COLUMNS), folder)
    write_json(folder / "raw.json", {"classes": [], "grey": False, "resolution": 0})


def test_memory_does_not_grow_with_the_images(
    tmp_path: Path, in_chunks: Callable[[int], None]
) -> None:
    """48 kB an image; 600 more of them are 29 MB."""
    in_chunks(8)
    peaks = {}
    for count in (100, 100, 700):  # the first time pays for imports
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        packed(folder, count, png(0, 8, 8))
        tracemalloc.start()
        preprocess(folder, {"train": folder / "train"}, chosen(resolution=128), ONE)
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[700] < peaks[100] + 3 * 2**20
    assert len(Dataset(folder / "train")) == 700
