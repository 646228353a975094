"""Sources: what they hold, and what they say when they do not."""

import gzip
import os
import struct

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ganpipe.data.sources import make_source, refresh
from ganpipe.data.sources.digits import Digits
from ganpipe.data.sources.fashion_mnist import DEBIAN_FOLDER, FILES, FashionMnist, read_idx
from ganpipe.data.sources.folder import Folder
from ganpipe.errors import GanpipeError
from ganpipe.files import read_json
from ganpipe.params import DataParams


def test_digits_are_the_scans_of_scikit_learn():
    source = Digits()
    bunch = load_digits()
    items = list(source)
    assert len(items) == len(source) == 1797
    assert [item.path for item in items] == sorted(item.path for item in items)
    number = int(items[500].path.split("/")[1].removesuffix(".png"))
    assert items[500].label == str(bunch.target[number])
    scans = np.rint(source.images[number][..., 0] * (16 / 255))
    assert np.array_equal(scans, bunch.images[number])


@pytest.mark.skipif(
    not (DEBIAN_FOLDER / FILES[0]).exists(), reason="apt-get install dataset-fashion-mnist"
)
def test_fashion_mnist_is_the_published_set():
    source = FashionMnist(str(DEBIAN_FOLDER))
    images = read_idx(DEBIAN_FOLDER / FILES[0])
    labels = read_idx(DEBIAN_FOLDER / FILES[1])
    assert images.shape == (60_000, 28, 28)
    assert np.bincount(labels).tolist() == [6000] * 10
    # mean and standard deviation of the training pixels, as published with the data set
    assert images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)
    assert images.std() / 255 == pytest.approx(0.3530, abs=1e-4)
    assert len(source) == 70_000


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"\0\0\x08\x03")[:-3]])
def test_a_damaged_idx_file_is_named(tmp_path, content):
    path = tmp_path / FILES[0]
    path.write_bytes(content)
    with pytest.raises(GanpipeError, match=FILES[0]):
        read_idx(path)


def test_an_idx_file_that_lies_about_its_size_is_named(tmp_path):
    path = tmp_path / FILES[0]
    path.write_bytes(gzip.compress(b"\0\0\x08\x03" + struct.pack(">3I", 5, 28, 28) + bytes(99)))
    with pytest.raises(GanpipeError, match=FILES[0]):
        read_idx(path)


def test_a_folder_without_the_four_files_says_which_are_missing(tmp_path):
    (tmp_path / FILES[0]).touch()
    with pytest.raises(GanpipeError) as caught:
        make_source(DataParams(source="fashion-mnist", path=str(tmp_path)))
    assert FILES[0] not in str(caught.value).split(":")[0]
    assert FILES[3] in str(caught.value)


def _picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (value, 0, 0)).save(path)


def test_sub_folders_are_classes_and_order_is_by_path(tmp_path):
    for name in ("dogs/b.png", "cats/deep/er/a.png", "cats/z.png", ".hidden/x.png"):
        _picture(tmp_path / name)
    source = Folder(str(tmp_path))
    assert source.classes == ["cats", "dogs"]
    assert [(item.path, item.label) for item in source] == [
        ("cats/deep/er/a.png", "cats"),
        ("cats/z.png", "cats"),
        ("dogs/b.png", "dogs"),
    ]


def test_files_beside_sub_folders_make_a_set_without_classes(tmp_path):
    _picture(tmp_path / "a.png")
    _picture(tmp_path / "more" / "b.png")
    source = Folder(str(tmp_path))
    assert source.classes == []
    assert [item.label for item in source] == ["", ""]


def test_links_are_listed_but_not_followed(tmp_path):
    _picture(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "passwords.png").symlink_to("/etc/passwd")
    statuses = {item.path: (item.status, item.payload) for item in Folder(str(tmp_path))}
    assert statuses["loop"] == ("symlink", b"")
    assert statuses["passwords.png"] == ("symlink", b"")


def test_what_is_no_plain_file_is_never_opened(tmp_path):
    _picture(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    with (tmp_path / "film.mkv").open("wb") as film:
        film.truncate(2**29 + 1)
    found = {item.path: (item.status, len(item.payload)) for item in Folder(str(tmp_path))}
    assert found["pipe.png"] == ("not-a-file", 0)
    assert found["film.mkv"] == ("too-large", 0)
    assert found["a.png"][0] == ""


def test_a_file_that_goes_away_meanwhile_is_set_aside(tmp_path):
    for name in ("a.png", "b.png"):
        _picture(tmp_path / name)
    source = Folder(str(tmp_path))
    assert len(source) == 2
    (tmp_path / "b.png").unlink()
    assert [item.status for item in source] == ["", "missing"]


def test_names_that_are_no_utf8_are_kept_apart(tmp_path):
    for name in (b"\xff.png", b"\xfe.png", "é.png".encode()):
        _picture(tmp_path / "x.png")
        (tmp_path / "x.png").rename(tmp_path / os.fsdecode(name))
    assert len({item.path for item in Folder(str(tmp_path))}) == 3


def test_the_fingerprint_tells_a_change_and_nothing_else(tmp_path):
    _picture(tmp_path / "set" / "a.png")
    params = DataParams(source="folder", path=str(tmp_path / "set"))
    first = refresh(params, tmp_path)
    written = (tmp_path / "data" / "source.json").stat().st_mtime_ns
    assert refresh(params, tmp_path) == first == read_json(tmp_path / "data" / "source.json")
    assert (tmp_path / "data" / "source.json").stat().st_mtime_ns == written
    _picture(tmp_path / "set" / "b.png")
    assert refresh(params, tmp_path)["digest"] != first["digest"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", "does not exist"),
        (lambda folder: folder, "holds no files"),
        (lambda folder: folder / "file.txt", "is a file"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path, make, words):
    path = make(tmp_path)
    if path.suffix:
        path.touch()
    with pytest.raises(GanpipeError, match=words):
        make_source(DataParams(source="folder", path=str(path))).fingerprint()
