"""Colour pictures in class folders: from palette files to a measured generator of RGB images."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from PIL import Image

from ganpipe.data.dataset import Dataset
from ganpipe.data.ingest import ingest
from ganpipe.data.manifest import read_manifest
from ganpipe.data.preprocess import preprocess
from ganpipe.data.sources.folder import Folder
from ganpipe.files import read_json
from ganpipe.networks import load_generator, sample
from ganpipe.params import ComputeParams, DataParams
from tests.data.emoji import HEIGHT, WIDTH, missing_packages, single_emoji, write_emoji

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        bool(missing_packages()), reason=f"apt-get install {' '.join(missing_packages())}"
    ),
]
RESOLUTION = 32
# the drawings' fills: Red 500, Light Green 600 and Blue 700 of the Material palette
SQUARES = {
    "LARGE RED SQUARE": (0xF4, 0x43, 0x36),
    "LARGE GREEN SQUARE": (0x7C, 0xB3, 0x42),
    "LARGE BLUE SQUARE": (0x19, 0x76, 0xD2),
}


@pytest.fixture(scope="module")
def emoji(tmp_path_factory):
    """A folder of class folders, and how many files each has."""
    folder = tmp_path_factory.mktemp("emoji") / "my pictures"
    return folder, write_emoji(folder)


@pytest.fixture(scope="module")
def preprocessed(emoji, tmp_path_factory):
    """`data/` of the emoji at 32x32, resized by area: the mean of four by four pixels."""
    folder, _ = emoji
    root = tmp_path_factory.mktemp("data")
    params = DataParams(source="folder", path=str(folder), resolution=RESOLUTION, resize="area")
    compute = ComputeParams(processes=2)
    ingest(Folder(params.path), root / "raw", params, compute)
    preprocess(root / "raw", {side: root / side for side in ("train", "test")}, params, compute)
    return root


@pytest.fixture(scope="module")
def pixels(preprocessed):
    """Path of each emoji -> uint8 [32, 32, 3]."""
    manifest = read_manifest(preprocessed / "raw")
    found = {}
    for side in ("train", "test"):
        data = Dataset(preprocessed / side)
        paths = manifest["path"][manifest["split"] == side]
        found |= dict(zip(paths, data.batch(np.arange(len(data))), strict=True))
    return found


def _over_white(path):
    """The middle square of a file over white, as the mean of its blocks: float [32, 32, 3]."""
    with Image.open(path) as image:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float64)
    opaque = rgba[..., 3:] / 255
    flat = rgba[..., :3] * opaque + 255 * (1 - opaque)
    edge, block = (WIDTH - HEIGHT) // 2, HEIGHT // RESOLUTION
    square = flat[:, edge : edge + HEIGHT]
    return square.reshape(RESOLUTION, block, RESOLUTION, block, 3).mean(axis=(1, 3))


def _path(name):
    code = ord(unicodedata.lookup(name))
    group = next(group for group, other in single_emoji() if other == code)
    return f"{group}/{code:05x}.png"


def test_every_emoji_is_used_and_its_folder_is_its_class(emoji, preprocessed):
    _, counts = emoji
    assert sum(counts.values()) > 1300
    manifest = read_manifest(preprocessed / "raw")
    assert set(manifest["status"]) == {"ok"}
    assert {"P", "RGBA"} <= set(manifest["mode"])
    assert manifest["label"].value_counts().to_dict() == counts
    folders = [path.split("/")[0] for path in manifest["path"]]
    assert manifest["label"].tolist() == folders
    names = sorted(counts)
    for side in ("train", "test"):
        data = Dataset(preprocessed / side)
        assert data.classes == names
        assert (data.height, data.width, data.channels) == (RESOLUTION, RESOLUTION, 3)
        expected = manifest["label"][manifest["split"] == side].tolist()
        assert [names[number] for number in data.labels] == expected


def test_palette_and_transparent_pictures_lie_on_white(emoji, pixels):
    folder, _ = emoji
    differences = np.array(
        [np.abs(_over_white(folder / path) - image).max() for path, image in pixels.items()]
    )
    assert len(differences) > 1300
    # each of them rounds to whole numbers: composition, resizing of rows, and of columns
    assert differences.max() <= 1.5


@pytest.mark.parametrize("name", SQUARES)
def test_a_square_has_its_colour_inside_and_white_around(pixels, name):
    image = pixels[_path(name)]
    assert np.abs(image[16, 16].astype(int) - SQUARES[name]).max() <= 1
    grinning = pixels[_path("GRINNING FACE")]
    assert (grinning[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()


@pytest.fixture(scope="module")
def reproduced(emoji, tmp_path_factory, checkout_of_this_code):
    """A checkout whose parameters name the folder, after `ganpipe refresh` and `dvc repro`."""
    folder, _ = emoji
    assignments = [
        "data.source=folder",
        f"data.path={folder}",
        f"data.resolution={RESOLUTION}",
        "compute.processes=2",
    ]
    checkout = checkout_of_this_code(tmp_path_factory.mktemp("colour") / "checkout", assignments)
    checkout.call("ganpipe", "refresh")
    checkout.call("dvc", "repro")
    return checkout


def test_the_folder_becomes_a_measured_generator_of_colour_images(emoji, reproduced):
    _, counts = emoji
    generator = load_generator(reproduced.folder / "model")
    assert 1000 <= generator.images <= 2048  # of the snapshot that was nearest
    images = sample(generator, 16, seed=0)
    assert images.shape == (16, RESOLUTION, RESOLUTION, 3)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == 16
    grey = images.max(axis=3) == images.min(axis=3)
    assert not grey.all()
    metrics = read_json(reproduced.folder / "report" / "metrics.json")
    assert metrics["fid_lite0_64"] > metrics["floor_fid_lite0_64"] > 0
    summary = read_json(reproduced.folder / "data" / "raw" / "raw.json")
    assert summary["class_counts"] == counts


def test_the_grid_of_reals_shows_colours_on_white(reproduced):
    with Image.open(reproduced.folder / "report" / "reals.png") as image:
        assert image.mode == "RGB"
        grid = np.asarray(image).astype(int)
    white = (grid == 255).all(axis=2)
    strong = grid.max(axis=2) - grid.min(axis=2) > 100
    assert white.mean() > 0.3
    assert strong.mean() > 0.1
