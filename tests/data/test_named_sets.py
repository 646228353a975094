"""Data sets by name: the published ones, image for image, and what to do without a network."""

import hashlib
import io
import tarfile
import time
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from ganpipe.data.sources import cifar10, make_source
from ganpipe.data.sources.celeba import Celeba
from ganpipe.data.sources.cifar10 import Cifar10
from ganpipe.data.sources.digits import Digits
from ganpipe.data.sources.fashion_mnist import CLASSES, DEBIAN_FOLDER, FILES, FashionMnist
from ganpipe.data.sources.mnist import Mnist
from ganpipe.errors import GanpipeError
from ganpipe.params import DataParams


def _listing(source):
    lines = [f"{entry.path}\0{entry.label}\0{entry.split}\n" for entry in source.entries]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _pixels(payload):
    return np.asarray(Image.open(io.BytesIO(payload)))


def test_digits_are_the_scans_of_scikit_learn():
    source = Digits()
    bunch = load_digits()
    assert source.classes == [str(digit) for digit in range(10)]
    read = list(source.read(source.entries))
    assert len(read) == 1797
    for entry, payload in read:
        label, number = entry.path.removesuffix(".png").split("/")
        assert label == entry.label == str(bunch.target[int(number)])
        assert np.array_equal(np.rint(_pixels(payload) * (16 / 255)), bunch.images[int(number)])


def test_digits_keep_the_names_that_existing_data_have():
    source = Digits()
    assert _listing(source) == "e8681f32e4f3c37ed9fbc7d06ff6e8369301f2a772146cf5d3925b162a788164"
    assert source.fingerprint() == {
        "source": "digits",
        "count": 1797,
        "bytes": 115_008,
        "digest": "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382",
    }


@pytest.mark.skipif(
    not (DEBIAN_FOLDER / FILES[0]).exists(), reason="apt-get install dataset-fashion-mnist"
)
def test_fashion_mnist_is_the_published_set():
    source = FashionMnist()
    assert source.fingerprint() == {
        "source": "fashion-mnist",
        "count": 70_000,
        "bytes": 30_878_551,
        "digest": "362ba1f5424f406d0db9c78b0e83db011b09c121c5c5f94ee5c077628f9adb5c",
    }
    assert _listing(source) == "39bada52d249a35801c5c3cd34ea51d0f95a5e7e422a47b20de3f33bfdf33179"
    train = [entry for entry in source.entries if entry.split == "train"]
    assert [sum(entry.label == name for entry in train) for name in CLASSES] == [6000] * 10
    total, squares = 0, 0
    numbers = list(range(60_000))
    for image in source.stacks[1].images(numbers):
        wide = image.astype(np.int64)
        total, squares = total + wide.sum(), squares + (wide**2).sum()
    mean = total / (60_000 * 784 * 255)
    # mean and standard deviation of the training pixels, as published with the data set
    assert mean == pytest.approx(0.2860, abs=1e-4)
    assert (squares / (60_000 * 784 * 255**2) - mean**2) ** 0.5 == pytest.approx(0.3530, abs=1e-4)


@pytest.mark.parametrize("kind", [FashionMnist, Mnist])
def test_a_folder_without_the_four_files_says_which_are_missing(tmp_path, kind):
    (tmp_path / FILES[0]).touch()
    with pytest.raises(GanpipeError) as caught:
        kind(str(tmp_path))
    assert FILES[0] not in str(caught.value).split(":")[0]
    assert FILES[3] in str(caught.value)


def test_unpacked_files_are_as_good_as_packed_ones(tmp_path):
    for name, header, values in (
        (FILES[0], b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x01", b"\x05\x06"),
        (FILES[1], b"\0\0\x08\x01\0\0\0\x02", b"\x09\x03"),
        (FILES[2], b"\0\0\x08\x03\0\0\0\x01\0\0\0\x01\0\0\0\x01", b"\x07"),
        (FILES[3], b"\0\0\x08\x01\0\0\0\x01", b"\x00"),
    ):
        (tmp_path / name.removesuffix(".gz")).write_bytes(header + values)
    source = Mnist(str(tmp_path))
    read = {entry.path: _pixels(payload).item() for entry, payload in source.read(source.entries)}
    assert read == {"test/0/00000.png": 7, "train/3/00001.png": 6, "train/9/00000.png": 5}


def test_a_class_that_the_set_does_not_have_is_named(tmp_path):
    for name, count in zip(FILES, (1, 1, 1, 1), strict=True):
        images = "images" in name
        header = bytes([0, 0, 8, 3 if images else 1]) + b"\0\0\0\x01" * (3 if images else 1)
        (tmp_path / name.removesuffix(".gz")).write_bytes(header + bytes([10] * count))
    with pytest.raises(GanpipeError, match="class 10"):
        _ = Mnist(str(tmp_path)).entries


def _cifar_batches():
    """Two images in each file: a red one of class 0, and one whose pixels count up."""
    red = bytes([0]) + bytes([255]) * 1024 + bytes(2048)
    counting = bytes([9]) + (np.arange(3072) % 251).astype(np.uint8).tobytes()
    return dict.fromkeys(cifar10.FILES, red + counting)


def _cifar_archive(path, batches):
    with tarfile.open(path, "w:gz") as tar:
        # not in their order, and beside other files, as in the published archive
        for name in [*reversed(batches), "batches.meta.txt"]:
            content = batches.get(name, b"airplane\n")
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_cifar10_is_read_from_the_archive_as_from_its_files(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name, content in _cifar_batches().items():
        (folder / name).write_bytes(content)
    (tmp_path / "there").mkdir()
    _cifar_archive(tmp_path / "there" / "cifar-10-binary.tar.gz", _cifar_batches())
    unpacked, packed = Cifar10(str(tmp_path)), Cifar10(str(tmp_path / "there"))
    payloads = {entry.path: payload for entry, payload in packed.read(packed.entries)}
    assert payloads == {e.path: payload for e, payload in unpacked.read(unpacked.entries)}
    assert len(payloads) == 12
    assert {e.path: (e.label, e.split) for e in packed.entries} == {
        e.path: (e.label, e.split) for e in unpacked.entries
    }
    assert sum(entry.split == "test" for entry in packed.entries) == 2


def test_cifar10_has_its_planes_and_numbers_where_the_format_puts_them(tmp_path):
    _cifar_archive(tmp_path / "cifar-10-binary.tar.gz", _cifar_batches())
    source = Cifar10(str(tmp_path))
    payloads = {entry.path: payload for entry, payload in source.read(source.entries)}
    assert (_pixels(payloads["test/airplane/00000.png"]) == (255, 0, 0)).all()
    # the second image of the third file, counted through all files for training
    counting = _pixels(payloads["train/truck/20001.png"])
    assert counting.shape == (32, 32, 3)
    y, x, channel = 3, 5, 2
    assert counting[y, x, channel] == (channel * 1024 + y * 32 + x) % 251


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda batches: batches.pop("data_batch_3.bin"), "lacks data_batch_3.bin"),
        (lambda batches: batches.update({"test_batch.bin": b"x" * 3072}), "test_batch.bin"),
        (lambda batches: batches.update({"test_batch.bin": bytes([10]) * 3073}), "class 10 of 10"),
        (lambda batches: batches.update({"test_batch.bin": b""}), "test_batch.bin"),
    ],
)
def test_a_damaged_cifar10_says_what_is_wrong(tmp_path, damage, words):
    batches = _cifar_batches()
    damage(batches)
    _cifar_archive(tmp_path / "cifar-10-binary.tar.gz", batches)
    with pytest.raises(GanpipeError, match=words):
        _ = Cifar10(str(tmp_path)).entries


@pytest.mark.parametrize("kept", [0, 1, 9, 100, -1])
def test_a_cifar10_archive_cut_off_anywhere_is_named(tmp_path, kept):
    path = tmp_path / "cifar-10-binary.tar.gz"
    _cifar_archive(path, _cifar_batches())
    content = path.read_bytes()
    path.write_bytes(content[:kept] if kept >= 0 else content[: len(content) // 2])
    with pytest.raises(GanpipeError, match=r"cifar-10-binary\.tar\.gz cannot be read"):
        _ = Cifar10(str(tmp_path)).entries


def _celeba(folder, packed, names=("000001.jpg", "000002.jpg", "000003.jpg")):
    folder.mkdir()
    pictures = {}
    for number, name in enumerate(names):
        out = io.BytesIO()
        Image.new("RGB", (178, 218), (number * 60, 0, 0)).save(out, "JPEG")
        pictures[name] = out.getvalue()
    if packed:
        with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
            for name, payload in pictures.items():
                archive.writestr(f"img_align_celeba/{name}", payload)
    else:
        (folder / "img_align_celeba").mkdir()
        for name, payload in pictures.items():
            (folder / "img_align_celeba" / name).write_bytes(payload)
    partition = "000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n"
    (folder / "list_eval_partition.txt").write_text(partition)
    return pictures


@pytest.mark.parametrize("packed", [True, False])
def test_celeba_has_its_published_split_and_its_bytes(tmp_path, packed):
    pictures = _celeba(tmp_path / "celeba", packed)
    source = Celeba(str(tmp_path / "celeba"))
    assert source.classes == []
    splits = {entry.path.rpartition("/")[2]: entry.split for entry in source.entries}
    assert splits == {"000001.jpg": "train", "000002.jpg": "train", "000003.jpg": "test"}
    read = list(source.read(source.entries))
    assert {entry.path.rpartition("/")[2]: payload for entry, payload in read} == pictures
    assert {entry.path: entry.split for entry, _ in read} == {
        entry.path: entry.split for entry in source.entries
    }
    assert all(entry.label == "" for entry in source.entries)


@pytest.mark.parametrize("packed", [True, False])
def test_celeba_names_images_that_are_missing(tmp_path, packed):
    _celeba(tmp_path / "celeba", packed, names=("000001.jpg", "000003.jpg"))
    source = Celeba(str(tmp_path / "celeba"))
    statuses = {entry.path.rpartition("/")[2]: entry.status for entry in source.entries}
    assert statuses == {"000001.jpg": "", "000002.jpg": "missing", "000003.jpg": ""}
    read = {
        entry.path.rpartition("/")[2]: payload for entry, payload in source.read(source.entries)
    }
    assert read["000002.jpg"] == b""


def test_another_partition_changes_the_fingerprint_of_celeba(tmp_path):
    _celeba(tmp_path / "celeba", packed=True)
    before = Celeba(str(tmp_path / "celeba")).fingerprint()
    partition = tmp_path / "celeba" / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace("000002.jpg 1", "000002.jpg 2"))
    after = Celeba(str(tmp_path / "celeba"))
    assert after.fingerprint()["digest"] != before["digest"]
    assert sum(entry.split == "test" for entry in after.entries) == 2


def test_a_damaged_partition_names_its_line(tmp_path):
    _celeba(tmp_path / "celeba", packed=True)
    (tmp_path / "celeba" / "list_eval_partition.txt").write_text("000001.jpg 0\n<html>\n")
    with pytest.raises(GanpipeError, match=r"list_eval_partition.txt, line 2: '<html>'"):
        _ = Celeba(str(tmp_path / "celeba")).entries


@pytest.fixture
def no_network(monkeypatch, tmp_path, free_port):
    """Every request goes to a port where nobody listens; nothing was downloaded before."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("GANPIPE_STATE", str(tmp_path / "state"))
    # urllib keeps the opener of its first request, with the proxies of that moment
    monkeypatch.setattr(urllib.request, "_opener", None)
    monkeypatch.setattr(FashionMnist, "places", ())


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("mnist", FILES),
        ("fashion-mnist", [*FILES, "dataset-fashion-mnist"]),
        ("cifar10", ["cifar-10-binary.tar.gz", cifar10.URL]),
        ("celeba", ["img_align_celeba.zip", "img_align_celeba", "list_eval_partition.txt"]),
    ],
)
def test_without_a_network_the_error_says_which_files_to_put_where(kind, names):
    started = time.monotonic()
    with pytest.raises(GanpipeError, match="could not be downloaded") as caught:
        make_source(DataParams(source=kind))
    assert time.monotonic() - started < 20  # most of it torchvision's import
    for name in [*names, "data.path"]:
        assert name in str(caught.value)


@pytest.mark.usefixtures("no_network")
def test_files_put_where_the_error_says_are_found(tmp_path):
    (tmp_path / "state" / "downloads" / "CIFAR10").mkdir(parents=True)
    archive = tmp_path / "state" / "downloads" / "CIFAR10" / "cifar-10-binary.tar.gz"
    _cifar_archive(archive, _cifar_batches())
    assert len(make_source(DataParams(source="cifar10")).entries) == 12
    _celeba(tmp_path / "state" / "downloads" / "celeba", packed=True)
    assert len(make_source(DataParams(source="celeba")).entries) == 3
