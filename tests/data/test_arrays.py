"""IDX and NumPy files: every layout that is meant, and a clear word for every other."""

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ganpipe.data.sources.idx import Idx
from ganpipe.data.sources.npz import Npz
from ganpipe.errors import GanpipeError

NUMBERS = np.random.default_rng(0)
GREY = NUMBERS.integers(0, 256, (5, 6, 5), np.uint8)
COLOUR = NUMBERS.integers(0, 256, (5, 8, 7, 3), np.uint8)


def _idx_bytes(array, kind=8):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def _write(folder, **files):
    """IDX files by name, with `-` for `_`; the names that end in gz are packed."""
    for name, array in files.items():
        content = _idx_bytes(array)
        packed = name.endswith("_gz")
        path = folder / (name.removesuffix("_gz").replace("_", "-") + (".gz" if packed else ""))
        path.write_bytes(gzip.compress(content) if packed else content)


def _read(source, wanted=None):
    """Path -> the pixels as they come out."""
    return {
        entry.path: np.asarray(Image.open(io.BytesIO(payload)))
        for entry, payload in source.read(source.entries if wanted is None else wanted)
    }


def _same(found, expected):
    return len(found) == len(expected) and all(
        np.array_equal(found[path], expected[number]) for number, path in enumerate(sorted(found))
    )


def test_idx_files_give_the_published_split_and_their_labels(tmp_path):
    _write(
        tmp_path,
        train_images_idx3_ubyte_gz=GREY,
        train_labels_idx1_ubyte_gz=np.array([2, 10, 2, 0, 1], np.uint8),
        t10k_images_idx3_ubyte=GREY[:2],
        t10k_labels_idx1_ubyte=np.array([1, 0], np.uint8),
    )
    source = Idx(str(tmp_path))
    found = [(entry.path, entry.label, entry.split) for entry in source.entries]
    assert found[0] == ("test/00000000.png", "1", "test")
    assert found[3] == ("train/00000001.png", "10", "train")
    assert source.classes == ["0", "1", "2", "10"]
    assert _same(_read(source), [*GREY[:2], *GREY])


def test_one_idx_file_has_no_split_and_may_have_no_labels(tmp_path):
    _write(tmp_path, pictures=COLOUR)
    source = Idx(str(tmp_path / "pictures"))
    assert {(entry.label, entry.split) for entry in source.entries} == {("", "")}
    assert source.classes == []
    assert _same(_read(source), COLOUR)


def test_one_idx_file_takes_the_labels_beside_it(tmp_path):
    _write(
        tmp_path,
        train_images_idx4_ubyte=COLOUR,
        train_labels_idx1_ubyte=np.arange(5, dtype=np.uint8),
    )
    source = Idx(str(tmp_path / "train-images-idx4-ubyte"))
    assert [entry.label for entry in source.entries] == list("01234")


def test_both_forms_of_the_same_idx_file_count_once(tmp_path):
    _write(tmp_path, train_images_idx3_ubyte=GREY, train_images_idx3_ubyte_gz=GREY)
    assert len(Idx(str(tmp_path)).entries) == 5


def test_other_types_of_idx_are_named(tmp_path):
    (tmp_path / "floats").write_bytes(_idx_bytes(GREY.astype(">f4"), kind=13))
    with pytest.raises(GanpipeError, match=r"floats holds float32 values: convert them to uint8"):
        _ = Idx(str(tmp_path / "floats")).entries


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train_images_idx3": GREY, "train_labels_idx1": GREY[:3, 0, 0]}, "5 images.* 3 labels"),
        ({"train_images_idx3": GREY, "train_labels_idx1": GREY[:, 0]}, r"labels are \[n\]"),
        (
            {"a_images_idx3": GREY, "b_images_idx3": GREY, "b_test_images_idx3": GREY},
            "several sets of IDX files .*a-images-idx3, b-images-idx3, b-test-images-idx3",
        ),
        (
            {
                "train_images_idx3": GREY,
                "train_labels_idx1": GREY[:, 0, 0],
                "t10k_images_idx3": GREY,
            },
            "t10k-images-idx3 has no file of labels",
        ),
        ({"train_labels_idx1": GREY[:, 0, 0]}, "no file named like train-images-idx3-ubyte"),
        ({"train_images_idx4": COLOUR[..., :2]}, r"shape \[5, 8, 7, 2\]"),
        ({"train_images_idx3": GREY[:0]}, "holds no images"),
    ],
)
def test_idx_files_that_do_not_fit_are_named(tmp_path, files, words):
    _write(tmp_path, **files)
    with pytest.raises(GanpipeError, match=words):
        _ = Idx(str(tmp_path)).entries


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b",
        b"no idx file",
        b"\0\0\x08",
        b"\0\0\x08\x03\0\0\0\x05",
        gzip.compress(_idx_bytes(GREY))[:20],
        struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 2**31),
        _idx_bytes(GREY)[:-1],
        _idx_bytes(GREY) + b"x",
        gzip.compress(_idx_bytes(GREY))[:-1],
        gzip.compress(_idx_bytes(GREY))[:-8] + bytes(8),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content):
    (tmp_path / "damaged").write_bytes(content)
    with pytest.raises(GanpipeError, match="damaged"):
        _read(Idx(str(tmp_path / "damaged")))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (GREY[:, None], GREY),
        (COLOUR, COLOUR),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR),
        (np.asfortranarray(COLOUR), COLOUR),
        (GREY.astype(np.float32) / 255, GREY),
        (COLOUR.astype(">f8").transpose(0, 3, 1, 2) / 255, COLOUR),
        (np.tile(COLOUR[..., :1], 4), np.tile(COLOUR[..., :1], 4)),
    ],
)
@pytest.mark.parametrize("name", ["set.npy", "set.npz", "packed.npz"])
def test_all_layouts_of_images_come_out_the_same(tmp_path, stored, expected, name):
    path = tmp_path / name
    if name == "set.npy":
        np.save(path, stored)
    else:
        (np.savez_compressed if name == "packed.npz" else np.savez)(path, images=stored)
    source = Npz(str(path))
    assert _same(_read(source), expected)
    assert _same(_read(source, source.entries[3:4]), expected[3:4])


@pytest.mark.parametrize(
    ("labels", "names", "classes"),
    [
        (np.array([3, 10, 3, 0, 1]), ["3", "10", "3", "0", "1"], ["0", "1", "3", "10"]),
        (np.array([[3], [1], [3], [0], [1]], np.uint8), list("31301"), ["0", "1", "3"]),
        (np.array(["cat", "dog", "cat", "é", "dog"]), ["cat", "dog", "cat", "é", "dog"], []),
        (np.array([b"cat", b"dog", b"cat", b"cat", b"a"]), ["cat", "dog", "cat", "cat", "a"], []),
    ],
)
def test_labels_are_numbers_or_text(tmp_path, labels, names, classes):
    np.savez(tmp_path / "set.npz", x=GREY, y=labels)
    source = Npz(str(tmp_path / "set.npz"))
    assert [entry.label for entry in source.entries] == names
    assert source.classes == classes


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("x_train", "x_test"), {"train": "train", "test": "test"}),
        (("train_images", "test_images"), {"train": "train", "test": "test"}),
        (
            ("train_images", "val_images", "test_images"),
            {"train": "train", "val": "train", "test": "test"},
        ),
        (("X_train", "X_val"), {"train": "", "val": ""}),
        (("images",), {"00000000.png": ""}),
    ],
)
def test_names_of_arrays_give_the_split_when_both_sides_are_there(tmp_path, names, splits):
    np.savez(tmp_path / "set.npz", **dict.fromkeys(names, GREY), weights=GREY[:1])
    source = Npz(str(tmp_path / "set.npz"))
    assert len(source.entries) == 5 * len(names)
    found = {entry.path.partition("/")[0]: entry.split for entry in source.entries}
    assert splits.items() <= found.items()


def test_both_sides_keep_their_own_labels(tmp_path):
    np.savez(
        tmp_path / "set.npz",
        test_labels=[[7]],
        train_labels=[[1], [2], [3], [4], [5]],
        train_images=COLOUR,
        test_images=COLOUR[:1],
    )
    source = Npz(str(tmp_path / "set.npz"))
    assert [entry.label for entry in source.entries] == list("712345")
    assert _same(_read(source), [COLOUR[0], *COLOUR])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"weights": GREY}, "holds weights, and no array named images"),
        ({"x": GREY, "images": GREY}, "x in .* and images in .* may both be meant"),
        ({"x": GREY, "x_train": GREY}, "same sides"),
        ({"x_train": GREY, "x_test": GREY, "y_train": np.arange(5)}, "same sides"),
        ({"x": GREY, "y": np.arange(4)}, "5 images, but 4 labels"),
        ({"x": GREY, "y": np.eye(5, dtype=int)}, r"labels are \[n\] or \[n, 1\]"),
        ({"x": GREY, "y": np.arange(5.0)}, "whole numbers or text"),
        ({"x": GREY.astype(np.int64)}, "is of int64"),
        ({"x": GREY.astype(np.float32)}, r"image 0 of x in .* floats must lie in \[0, 1\]"),
        ({"x": GREY / 255 - 0.1}, r"floats must lie in \[0, 1\]"),
        ({"x": GREY * np.nan}, "from nan to nan"),
        ({"x": GREY.reshape(5, 30)}, r"shape \[5, 30\]"),
        ({"x": GREY[..., None][..., [0, 0]]}, r"shape \[5, 6, 5, 2\]"),
        ({"x": np.zeros((5, 3, 6, 3), np.uint8)}, "channels may be first or last"),
        ({"x": GREY[:0]}, "holds no images"),
        ({"x": np.array([None] * 5)}, "Python objects, which are never unpickled"),
        ({"x": GREY, "y": np.array(["a", None] * 2 + ["b"])}, "never unpickled"),
    ],
)
def test_arrays_that_cannot_be_meant_are_named(tmp_path, arrays, words):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(GanpipeError, match=words):
        _read(Npz(str(tmp_path / "set.npz")))


def test_arrays_beside_the_images_are_never_looked_at(tmp_path):
    np.savez(tmp_path / "set.npz", x=GREY, notes=np.array([None, "unpickled?"]))
    assert len(Npz(str(tmp_path / "set.npz")).entries) == 5


def test_the_tag_is_that_of_the_content_wherever_the_file_lies(tmp_path):
    for name in ("one.npz", "two.npz"):
        np.savez(tmp_path / name, x=GREY)
    one, two = Npz(str(tmp_path / "one.npz")), Npz(str(tmp_path / "two.npz"))
    assert list(one.entries) == list(two.entries)
    assert one.fingerprint() == two.fingerprint()


def _damaged(tmp_path, save, change):
    path = tmp_path / "set.npz"
    save(path, images=GREY, labels=np.arange(5))
    path.write_bytes(change(path.read_bytes()))
    return Npz(str(path))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: b"\x93NUMPY",
        lambda content: b"PK" + bytes(100),
        lambda content: content[:-30],
        lambda content: content[: len(content) // 2],
        lambda content: content[:60] + bytes(40) + content[100:],
    ],
)
def test_a_damaged_npz_is_named(tmp_path, save, change):
    with pytest.raises(GanpipeError, match=r"set\.npz cannot be read"):
        _read(_damaged(tmp_path, save, change))


def test_a_changed_pixel_in_an_npz_is_noticed(tmp_path):
    spot = bytes(GREY[2].tobytes())
    with pytest.raises(GanpipeError, match=r"images in .*set\.npz cannot be read"):
        _read(_damaged(tmp_path, np.savez, lambda content: content.replace(spot, bytes(len(spot)))))


def test_a_header_that_promises_more_than_the_file_can_hold_is_named(tmp_path):
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": (10**12, 4, 3)}
    np.lib.format.write_array_header_1_0(header, about)
    (tmp_path / "set.npy").write_bytes(header.getvalue() + bytes(100))
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
    for name in ("set.npy", "set.npz"):
        with pytest.raises(GanpipeError, match="too few for shape"):
            _ = Npz(str(tmp_path / name)).entries


def test_headers_that_confuse_numpy_and_zipfile_are_named(tmp_path):
    np.save(tmp_path / "set.npy", GREY)
    content = (tmp_path / "set.npy").read_bytes()
    (tmp_path / "set.npy").write_bytes(content.replace(b"}", b"{", 1))
    np.savez(tmp_path / "set.npz", images=GREY)
    content = (tmp_path / "set.npz").read_bytes()
    directory = content.index(b"PK\x01\x02")
    (tmp_path / "set.npz").write_bytes(
        content[: directory + 6] + b"\xff" + content[directory + 7 :]  # version needed: 25.5
    )
    for name in ("set.npy", "set.npz"):
        with pytest.raises(GanpipeError, match=f"{name} cannot be read"):
            _ = Npz(str(tmp_path / name)).entries


@settings(max_examples=400, deadline=None)
@given(data=st.data(), name=st.sampled_from(["set.npy", "set.npz", "packed.npz", "idx", "idx.gz"]))
def test_any_damage_is_harmless_or_named(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("damage")
    path = folder / name
    match name:
        case "set.npy":
            np.save(path, GREY)
        case "set.npz":
            np.savez(path, images=GREY, labels=np.arange(5))
        case "packed.npz":
            np.savez_compressed(path, images=GREY, labels=np.array(list("abcde")))
        case _:
            content = _idx_bytes(GREY)
            path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    try:
        _read((Idx if name.startswith("idx") else Npz)(str(path)))
    except GanpipeError as error:
        assert name in str(error)  # noqa: PT017 - most damage to pixels is none to the file


@settings(max_examples=30, deadline=None)
@given(wanted=st.lists(st.integers(0, 199), max_size=30), packed=st.booleans())
def test_any_images_in_any_order_are_those_asked_for(tmp_path_factory, wanted, packed):
    folder = tmp_path_factory.mktemp("arrays")
    images = np.arange(200 * 4 * 4, dtype=np.uint32).astype(np.uint8).reshape(200, 4, 4)
    images[:, 0, 0] = np.arange(200)
    (np.savez_compressed if packed else np.savez)(folder / "set.npz", images=images)
    _write(folder, **{"images_idx3_gz" if packed else "images_idx3": images})
    for source in (Npz(str(folder / "set.npz")), Idx(str(folder))):
        chosen = [source.entries[number] for number in dict.fromkeys(wanted)]
        found = _read(source, chosen)
        assert {int(pixels[0, 0]) for pixels in found.values()} == set(wanted)
        for entry in chosen:
            assert np.array_equal(found[entry.path], images[int(entry.path[:8])])
