"""Sources: what every one of them promises to ingest, whatever it reads."""

import gzip
import io
import random
import struct
import tarfile
import zipfile
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ganpipe.data.sources import make_source, read_fingerprint, refresh
from ganpipe.data.sources.cifar10 import FILES as CIFAR_FILES
from ganpipe.data.sources.mnist import FILES as MNIST_FILES
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json
from ganpipe.params import DataParams, SourceName

KINDS = get_args(SourceName)


def _pictures(numbers, count=7):
    pixels = numbers.integers(0, 256, (count, 9, 8, 3), np.uint8)
    for number, image in enumerate(pixels):
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        yield f"{'ab'[number % 2]}/{number}.png", out.getvalue()


def _idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))
    return path


def _mnist(folder, numbers):
    for name, count in zip(MNIST_FILES, (30, 30, 11, 11), strict=True):
        images = "images" in name
        shape = (count, 28, 28) if images else (count,)
        _idx(folder / name, numbers.integers(0, 256 if images else 10, shape, np.uint8))
    return folder


def _cifar(folder, numbers):
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name in CIFAR_FILES:
            batch = numbers.integers(0, 256, (6, 3073), np.uint8)
            batch[:, 0] %= 10
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = batch.nbytes
            tar.addfile(member, io.BytesIO(batch.tobytes()))
    return folder


def _celeba(folder, numbers):
    pictures = list(_pictures(numbers))
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        for number, (_, payload) in enumerate(pictures):
            archive.writestr(f"img_align_celeba/{number:06d}.jpg", payload)
    lines = [f"{number:06d}.jpg {number % 3}\n" for number in range(len(pictures))]
    (folder / "list_eval_partition.txt").write_text("".join(lines))
    return folder


def _folder(folder, numbers):
    for name, payload in _pictures(numbers):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(payload)
    return folder


def _archive(folder, numbers):
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, payload in _pictures(numbers):
            archive.writestr(name, payload)
    return folder / "set.zip"


def _npz(folder, numbers):
    images = numbers.integers(0, 256, (13, 8, 8), np.uint8)
    np.savez_compressed(folder / "set.npz", images=images, labels=np.arange(13) % 3)
    return folder / "set.npz"


def _parquet(folder, numbers):
    images = [payload for _, payload in _pictures(numbers)]
    table = pa.table({"image": images, "label": [number % 2 for number in range(len(images))]})
    pq.write_table(table, folder / "set.parquet", row_group_size=3)
    return folder


SAMPLES = {
    "digits": lambda folder, numbers: "",
    "fashion-mnist": _mnist,
    "mnist": _mnist,
    "cifar10": _cifar,
    "celeba": _celeba,
    "folder": _folder,
    "archive": _archive,
    "idx": _mnist,
    "npz": _npz,
    "parquet": _parquet,
}


def _params(kind, folder, seed=0):
    return DataParams(source=kind, path=str(SAMPLES[kind](folder, np.random.default_rng(seed))))


@pytest.fixture(params=KINDS)
def params(request, tmp_path):
    return _params(request.param, tmp_path)


def test_entries_are_listed_once_in_the_order_of_their_paths(params):
    source = make_source(params)
    paths = [entry.path for entry in source.entries]
    assert len(paths) > 2
    assert paths == sorted(set(paths))
    assert source.entries is source.entries
    assert {entry.split for entry in source.entries} in ({""}, {"train", "test"})


def test_the_classes_are_named_in_an_order_that_has_all_of_them(params):
    source = make_source(params)
    labels = {entry.label for entry in source.entries} - {""}
    if source.classes:
        assert labels <= set(source.classes)
        assert len(source.classes) == len(set(source.classes))


def test_every_entry_is_read_once_and_is_an_image(params):
    source = make_source(params)
    read = [(entry.path, payload) for entry, payload in source.read(source.entries)]
    assert sorted(path for path, _ in read) == [entry.path for entry in source.entries]
    for _, payload in read:
        with Image.open(io.BytesIO(payload)) as image:
            image.load()


def test_reading_some_gives_the_same_as_reading_all(params):
    source = make_source(params)
    everything = dict(source.read(source.entries))
    draw = random.Random(0)
    assert list(source.read([])) == []
    for size in (1, 2, len(source.entries) // 2, len(source.entries) - 1):
        wanted = draw.sample(list(source.entries), size)
        some = list(source.read(wanted))
        assert len(some) == size
        assert dict(some) == {entry: everything[entry] for entry in wanted}


def test_two_looks_at_the_same_source_agree(params):
    first, second = make_source(params), make_source(params)
    assert first.fingerprint() == second.fingerprint()
    assert list(first.entries) == list(second.entries)
    assert dict(first.read(first.entries)) == dict(second.read(second.entries))


def test_the_fingerprint_names_its_source_and_counts(params):
    found = make_source(params).fingerprint()
    assert sorted(found) == ["bytes", "count", "digest", "source"]
    assert found["source"] == params.source
    assert found["count"] > 0
    assert found["bytes"] > 0
    assert len(found["digest"]) == 64


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "digits"])
def test_other_content_changes_the_fingerprint_and_the_tags(kind, tmp_path):
    before = make_source(_params(kind, tmp_path, seed=0))
    old = before.fingerprint(), {entry.path: entry.tag for entry in before.entries}
    after = make_source(_params(kind, tmp_path, seed=1))
    assert after.fingerprint()["digest"] != old[0]["digest"]
    for entry in after.entries:
        assert entry.tag != old[1].get(entry.path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "digits"])
def test_a_path_to_nothing_is_named(kind, tmp_path):
    nowhere = str(tmp_path / "nowhere")
    with pytest.raises(GanpipeError, match="nowhere"):
        make_source(DataParams(source=kind, path=nowhere)).fingerprint()


@pytest.mark.parametrize("kind", ["fashion-mnist", "mnist", "cifar10", "celeba", "idx", "npz"])
def test_a_url_is_refused_where_only_files_can_be_read(kind):
    with pytest.raises(GanpipeError, match=r"s3://bucket.*download it"):
        make_source(DataParams(source=kind, path="s3://bucket/set"))


def test_a_file_url_is_a_path(params):
    if params.path:
        as_url = params.model_copy(update={"path": f"file://{params.path}"})
        assert list(make_source(as_url).entries) == list(make_source(params).entries)


def test_the_fingerprint_is_written_when_it_changes_and_only_then(tmp_path):
    (tmp_path / "set").mkdir()
    params = _params("folder", tmp_path / "set")
    assert read_fingerprint(tmp_path) is None
    first = refresh(params, tmp_path)
    written = (tmp_path / "data" / "source.json").stat().st_mtime_ns
    assert refresh(params, tmp_path) == first == read_json(tmp_path / "data" / "source.json")
    assert (tmp_path / "data" / "source.json").stat().st_mtime_ns == written
    (tmp_path / "set" / "a" / "new.png").write_bytes(b"x")
    assert refresh(params, tmp_path)["digest"] != first["digest"]
    assert read_fingerprint(tmp_path) != first
