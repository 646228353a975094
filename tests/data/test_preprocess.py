"""From files in a folder to shards: nothing lost, nothing half-written, right colours."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from ganpipe.data.dataset import Dataset
from ganpipe.data.ingest import ingest, read_manifest, set_aside
from ganpipe.data.preprocess import preprocess, to_pixels
from ganpipe.data.sources.digits import Digits
from ganpipe.data.sources.folder import Folder
from ganpipe.errors import GanpipeError
from ganpipe.params import DataParams


def _encode(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _fill(folder, count=20, mode="RGB", size=(16, 16)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(noise).convert(mode).save(folder / f"{number:03d}.png")


def _run(folder, output, **params):
    raw = output / "raw"
    chosen = DataParams(source="folder", path=str(folder), test_fraction=0.3, **params)
    ingest(Folder(str(folder)), raw, chosen.test_fraction)
    outputs = {split: output / split for split in ("train", "test")}
    preprocess(raw, outputs, chosen)
    return Dataset(output / "train"), Dataset(output / "test")


def test_digits_come_out_pixel_for_pixel(tmp_path):
    source = Digits()
    ingest(source, tmp_path / "raw", 0.1)
    outputs = {split: tmp_path / split for split in ("train", "test")}
    preprocess(tmp_path / "raw", outputs, DataParams(resolution=8))
    sets = [Dataset(folder) for folder in outputs.values()]
    pixels = {
        bytes(image) + bytes([label])
        for one in sets
        for image, label in zip(one.batch(np.arange(len(one))), one.labels, strict=True)
    }
    expected = {
        bytes(image) + bytes([label])
        for image, label in zip(source.images, source.labels, strict=True)
    }
    assert pixels == expected
    assert sum(len(one) for one in sets) == 1797
    assert 0.07 < len(sets[1]) / 1797 < 0.13


def test_the_same_folder_gives_the_same_bytes(tmp_path):
    _fill(tmp_path / "in" / "a")
    _fill(tmp_path / "in" / "b", mode="L")
    for name in ("one", "two"):
        _run(tmp_path / "in", tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*.*"))
    assert len(files) >= 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_packed_bytes_are_the_original_ones(tmp_path):
    _fill(tmp_path / "in")
    ingest(Folder(str(tmp_path / "in")), tmp_path / "raw", 0.3)
    with tarfile.open(tmp_path / "raw" / "raw-00000.tar") as tar:
        packed = {member.name: tar.extractfile(member).read() for member in tar}
    assert packed == {p.name: p.read_bytes() for p in (tmp_path / "in").iterdir()}


def test_bad_files_are_set_aside_and_listed_not_fatal(tmp_path):
    folder = tmp_path / "in"
    _fill(folder)
    jpeg = _encode(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "JPEG"
    )
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty.png").touch()
    train, test = _run(folder, tmp_path / "out")
    assert len(train) + len(test) == 20
    statuses = read_manifest(tmp_path / "out" / "raw").set_index("path")["status"]
    assert statuses["cut.jpg"] == "truncated"
    assert statuses["notes.txt"] == statuses["empty.png"] == "not-an-image"
    assert set_aside(tmp_path / "out" / "raw") == [
        "cut.jpg: truncated",
        "empty.png: not-an-image",
        "notes.txt: not-an-image",
    ]


def test_no_file_runs_a_program_or_ends_the_stage(tmp_path, monkeypatch):
    """EPS would call Ghostscript; LAB and damaged EXIF are decoded or set aside."""
    folder, tools = tmp_path / "in", tmp_path / "tools"
    _fill(folder)
    tools.mkdir()
    (tools / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/called\n")
    (tools / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    picture = Image.effect_noise((16, 16), 40)
    (folder / "drawing.eps").write_bytes(_encode(picture, "EPS"))
    (folder / "lab.tif").write_bytes(_encode(Image.new("LAB", (16, 16), (128, 128, 128)), "TIFF"))
    (folder / "exif.jpg").write_bytes(_encode(picture, "JPEG", exif=b"Exif\0\0damaged"))
    (folder / "exif.webp").write_bytes(_encode(picture, "WEBP", exif=b"Exif\0\0II*\0\xff"))
    train, test = _run(folder, tmp_path / "out")
    assert not (tmp_path / "called").exists()
    statuses = read_manifest(tmp_path / "out" / "raw").set_index("path")["status"]
    assert statuses["drawing.eps"] == "not-an-image"
    assert statuses["lab.tif"] == "ok"
    assert len(train) + len(test) == (statuses == "ok").sum() >= 21


def test_the_side_of_an_image_depends_on_its_pixels_alone(tmp_path):
    """Stored again in another format, an image stays on its side."""
    for kind in ("png", "bmp"):
        (tmp_path / kind).mkdir()
        for number in range(30):
            noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / kind / f"{number:02d}.{kind}")
        ingest(Folder(str(tmp_path / kind)), tmp_path / f"raw-{kind}", 0.3)
    first, second = (read_manifest(tmp_path / f"raw-{kind}") for kind in ("png", "bmp"))
    assert first["split"].tolist() == second["split"].tolist()
    assert set(first["split"]) == {"train", "test"}
    assert first["sha256"].tolist() != second["sha256"].tolist()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a.txt": b"x", "b.jpg": b"\xff\xd8\xff"}, "none of the 2 files is a usable image"),
        ({"a.png": _encode(Image.new("L", (8, 8)))}, "1 usable images leave"),
    ],
)
def test_too_little_to_use_fails_and_leaves_nothing(tmp_path, files, words):
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(GanpipeError, match=words):
        ingest(Folder(str(tmp_path / "in")), tmp_path / "raw", 0.1)
    assert [child.name for child in tmp_path.iterdir()] == ["in"]


def test_mixed_sizes_need_a_resolution_and_leave_nothing(tmp_path):
    _fill(tmp_path / "in" / "a", size=(16, 16))
    _fill(tmp_path / "in" / "b", size=(20, 24))
    with pytest.raises(GanpipeError, match=r"20x24 \(20\).*data\.resolution=64"):
        _run(tmp_path / "in", tmp_path / "out")
    assert [child.name for child in (tmp_path / "out").iterdir()] == ["raw"]
    train, _ = _run(tmp_path / "in", tmp_path / "out", resolution=8)
    assert (train.height, train.width, train.channels) == (8, 8, 3)


def test_grey_is_found_and_can_be_asked_for(tmp_path):
    _fill(tmp_path / "grey", mode="L")
    _fill(tmp_path / "rgb")
    assert _run(tmp_path / "grey", tmp_path / "1")[0].channels == 1
    assert _run(tmp_path / "grey", tmp_path / "2", channels="rgb")[0].channels == 3
    assert _run(tmp_path / "rgb", tmp_path / "3", channels="grey")[0].channels == 1


def test_classes_are_numbered_in_alphabetical_order(tmp_path):
    _fill(tmp_path / "in" / "zebra")
    Image.new("RGB", (16, 16)).save(tmp_path / "in" / "zebra" / "x.png")
    (tmp_path / "in" / "ant").mkdir()
    for number in range(30):
        Image.new("RGB", (16, 16), (255, 255, number)).save(tmp_path / f"in/ant/{number}.png")
    train, _ = _run(tmp_path / "in", tmp_path / "out")
    assert train.classes == ["ant", "zebra"]
    images, labels = train.batch(np.arange(len(train))), train.labels
    assert {tuple(image[0, 0, :2]) for image in images[labels == 0]} == {(255, 255)}


RED, HALF = (255, 0, 0), (255, 127, 127)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGB", (8, 8), RED), RED),
        (Image.new("P", (8, 8), 0), None),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 128)), HALF),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("LA", (8, 8), (0, 0)), (255, 255, 255)),
        (Image.new("1", (8, 8), 1), (255, 255, 255)),
        (Image.fromarray(np.full((8, 8), 0x8080, np.uint16)), (128, 128, 128)),
    ],
)
def test_every_mode_has_its_right_colours(image, expected):
    if image.mode == "P":
        image.putpalette([*RED, *[0] * 765])
        expected = RED
    pixels = to_pixels(_encode(image), 8, 3)
    assert np.abs(pixels.astype(int) - np.array(expected)).max() <= 1


def test_pictures_taken_sideways_are_turned_upright():
    picture = Image.new("RGB", (16, 16), "black")
    picture.paste((255, 255, 255), (0, 0, 16, 4))  # a white stripe at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # shown correctly when rotated by 90 degrees clockwise
    pixels = to_pixels(_encode(picture, "PNG", exif=exif), 16, 1)
    assert pixels[:, -3:].mean() > 200
    assert pixels[:, :8].mean() < 50


def test_resizing_is_antialiased():
    """A fine checkerboard becomes grey; a resize that skips pixels would keep black and white."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    pixels = to_pixels(_encode(Image.fromarray(board)), 8, 1)
    assert np.abs(pixels.astype(int) - 127).max() <= 3


def test_a_batch_gathers_across_shards_in_the_order_asked(tmp_path):
    _fill(tmp_path / "in", count=40)
    train, _ = _run(tmp_path / "in", tmp_path / "out")
    whole = train.batch(np.arange(len(train)))
    folder = train.folder
    (folder / "images-00000.npy").unlink()
    np.save(folder / "images-00000.npy", whole[:7])
    np.save(folder / "images-00001.npy", whole[7:])
    order = np.array([9, 0, 7, 6, 3, 7])
    assert np.array_equal(Dataset(folder).batch(order), whole[order])


def test_missing_shards_are_noticed(tmp_path):
    _fill(tmp_path / "in")
    train, _ = _run(tmp_path / "in", tmp_path / "out")
    (train.folder / "images-00000.npy").unlink()
    with pytest.raises(GanpipeError, match="run the stage preprocess"):
        Dataset(train.folder)
