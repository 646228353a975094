"""Sets of images: however they are kept, the same pixels are read, or an error says why not."""

import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.sets import Statistics, check_room, read_set
from tests.evaluation.digits import CLASSES, digits, make_dataset

COUNT = 12


def _images():
    images, labels = digits()
    order = np.argsort(labels[:COUNT], kind="stable")
    return images[:COUNT][order], labels[:COUNT][order]


def _names(labels):
    return [f"{label}/{number:03d}.png" for number, label in enumerate(labels)]


def _folder(place, images, labels):
    for image, name in zip(images, _names(labels), strict=True):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.squeeze()).save(place / name)
    return place


@pytest.fixture
def pictures(tmp_path):
    """A folder of PNG files, its sub-folders being the classes."""
    return _folder(tmp_path / "pictures", *_images())


def _kept(kind, folder, tmp_path):
    """The images of that folder, kept in another way."""
    images, labels = _images()
    files = sorted(path for path in folder.rglob("*.png"))
    place = tmp_path / f"kept{kind}"
    if kind == ".zip":
        with zipfile.ZipFile(place, "w") as archive:
            for path in reversed(files):
                archive.write(path, path.relative_to(folder))
    elif kind.startswith(".tar"):
        with tarfile.open(place, "w:gz" if kind.endswith("gz") else "w") as archive:
            for path in reversed(files):
                archive.add(path, path.relative_to(folder))
    elif kind == ".npz":
        np.savez(place, images=images, labels=labels)
    elif kind == "/":
        return folder
    else:
        present = np.unique(labels)
        make_dataset(place, images, np.searchsorted(present, labels), 3 if "s" in kind else 1)
        about = (place / "dataset.json").read_text()
        names = str([CLASSES[number] for number in present]).replace("'", '"')
        (place / "dataset.json").write_text(about.replace(str(CLASSES).replace("'", '"'), names))
    return place


@pytest.mark.parametrize("kind", ["/", ".zip", ".tar", ".tar.gz", ".npz", "dataset", "shards"])
def test_the_same_images_are_the_same_however_they_are_kept(kind, pictures, tmp_path):
    images, labels = _images()
    found = read_set(str(_kept(kind, pictures, tmp_path)), tmp_path / "scratch")
    assert (found.count, found.shape) == (COUNT, (16, 16, 1))
    np.testing.assert_array_equal(found.read(np.arange(COUNT)), images)
    np.testing.assert_array_equal(found.read(np.array([5, 2])), images[[5, 2]])
    assert found.classes == [str(each) for each in np.unique(labels)]
    assert [found.classes[number] for number in found.labels] == [str(each) for each in labels]
    assert found.left_out == []


def test_one_coloured_image_makes_all_of_them_rgb(pictures, tmp_path):
    images, _ = _images()
    Image.new("RGB", (16, 16), (255, 0, 0)).save(pictures / "9" / "z.png")
    found = read_set(str(pictures), tmp_path / "scratch")
    assert found.shape == (16, 16, 3)
    np.testing.assert_array_equal(found.read(np.arange(COUNT)), images.repeat(3, axis=3))
    np.testing.assert_array_equal(found.read(np.array([COUNT]))[0, 0, 0], [255, 0, 0])


def test_transparent_pixels_are_white(tmp_path):
    folder = tmp_path / "clear"
    folder.mkdir()
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(folder / "a.png")
    found = read_set(str(folder), tmp_path / "scratch")
    assert (found.read(np.arange(1)) == 255).all()


def test_images_without_classes_have_none(tmp_path):
    np.savez(tmp_path / "plain.npz", images=_images()[0])
    found = read_set(str(tmp_path / "plain.npz"), tmp_path / "scratch")
    assert (found.labels, found.classes) == (None, [])


def test_one_class_alone_is_none(tmp_path):
    images, labels = _images()
    found = read_set(
        str(_folder(tmp_path / "same", images, np.zeros_like(labels))), tmp_path / "scratch"
    )
    assert (found.labels, found.classes) == (None, [])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_statistics_of_other_tools_are_taken_as_they_are(save, tmp_path):
    features = np.random.default_rng(0).normal(size=(50, 6))
    mean, covariance = features.mean(axis=0), np.cov(features, rowvar=False)
    save(tmp_path / "stats.npz", mu=mean, sigma=covariance)
    found = read_set(str(tmp_path / "stats.npz"), tmp_path)
    assert isinstance(found, Statistics)
    np.testing.assert_array_equal(found.mean, mean)
    np.testing.assert_array_equal(found.covariance, covariance)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"mu": np.zeros(3), "sigma": np.zeros((2, 2))}, r"\(3,\) and sigma \(2, 2\)"),
        ({"mu": np.zeros((3, 1)), "sigma": np.zeros((3, 3))}, r"\(3, 1\)"),
        ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, "NaN"),
        ({"mu": np.zeros(3), "sigma": np.full((3, 3), np.inf)}, "infinite"),
        ({"something": np.zeros(3)}, "something"),
        ({"images": np.zeros((3, 8, 8), np.int32)}, "int32"),
    ],
)
def test_an_npz_that_is_neither_images_nor_statistics_is_told_why(arrays, told, tmp_path):
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(GanpipeError, match=told):
        read_set(str(tmp_path / "odd.npz"), tmp_path / "scratch")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", mu=np.array([{"a": 1}]), sigma=np.eye(1), allow_pickle=True)
    with pytest.raises(GanpipeError, match=r"evil\.npz"):
        read_set(str(tmp_path / "evil.npz"), tmp_path / "scratch")


@pytest.mark.parametrize("name", ["broken.npz", "broken.zip", "broken.tar"])
def test_a_damaged_file_is_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"no such thing" * 100)
    with pytest.raises(GanpipeError, match=name):
        read_set(str(tmp_path / name), tmp_path / "scratch")


@pytest.mark.parametrize("name", ["nowhere", "one.png"])
def test_what_is_no_set_is_told_what_would_be(name, tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "one.png")
    with pytest.raises(GanpipeError, match=rf"{name}.*folder"):
        read_set(str(tmp_path / name), tmp_path / "scratch")


def test_images_of_several_sizes_are_an_error_that_names_one(pictures, tmp_path):
    Image.new("L", (8, 20)).save(pictures / "9" / "z.png")
    with pytest.raises(GanpipeError, match=r"9/z\.png has 8 x 20 pixels.*16 x 16"):
        read_set(str(pictures), tmp_path / "scratch")


@pytest.mark.parametrize("cut", [20, 60, -40])
def test_a_damaged_image_is_an_error_that_names_it(cut, pictures, tmp_path):
    path = pictures / "0" / "000.png"
    path = path if path.exists() else next(pictures.rglob("*.png"))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(GanpipeError, match=rf"{path.name} is damaged"):
        read_set(str(pictures), tmp_path / "scratch")


def test_what_is_no_image_is_left_out_and_named(pictures, tmp_path):
    (pictures / "9" / "notes.txt").write_text("not a picture")
    frames = [Image.new("L", (16, 16), shade) for shade in (0, 255)]
    frames[0].save(pictures / "9" / "film.gif", save_all=True, append_images=frames[1:])
    (pictures / "9" / "link.png").symlink_to(next(pictures.rglob("*.png")))
    (pictures / ".hidden").write_text("nobody's business")
    found = read_set(str(pictures), tmp_path / "scratch")
    assert found.count == COUNT
    assert sorted(found.left_out) == ["9/film.gif", "9/link.png", "9/notes.txt"]


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(GanpipeError, match="holds no image: 1 files"):
        read_set(str(tmp_path), tmp_path.parent / f"{tmp_path.name}-scratch")


def test_reading_a_data_set_writes_no_second_copy(tmp_path):
    make_dataset(tmp_path / "set", _images()[0], shards=3)
    read_set(str(tmp_path / "set"), tmp_path / "scratch")
    assert not (tmp_path / "scratch").exists()


def test_a_full_disk_says_how_much_room_is_missing(pictures, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "images").symlink_to("/dev/full")
    with pytest.raises(GanpipeError, match=r"pictures: .* lacks about 1 MB .* set TMPDIR"):
        read_set(str(pictures), tmp_path / "scratch")


def test_room_is_looked_for_before_it_is_needed(tmp_path):
    check_room(tmp_path, 0, "faces")
    with pytest.raises(GanpipeError, match=r"faces: .* lacks about [\d,]+ MB"):
        check_room(tmp_path, 2**62, "faces")


@pytest.mark.parametrize(
    ("sigma", "told"),
    [
        ([[1.0, 1e-5], [0.0, 1.0]], "not symmetric"),
        ([[1.0, 2.0], [2.0, 1.0]], "eigenvalue -1 beside 3"),
        ([[1.0, 0.0], [0.0, -2e-6]], "eigenvalue -2e-06 beside 1"),
    ],
)
def test_statistics_that_are_no_covariance_are_refused(sigma, told, tmp_path):
    np.savez(tmp_path / "stats.npz", mu=np.zeros(2), sigma=np.array(sigma))
    with pytest.raises(GanpipeError, match=rf"stats\.npz: sigma .*{told}"):
        read_set(str(tmp_path / "stats.npz"), tmp_path)


def test_statistics_as_rounding_leaves_them_are_taken(tmp_path):
    np.savez(tmp_path / "stats.npz", mu=np.zeros(2), sigma=np.array([[1.0, 5e-7], [0, -5e-7]]))
    assert isinstance(read_set(str(tmp_path / "stats.npz"), tmp_path), Statistics)
