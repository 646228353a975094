"""The data report tells the truth, and nothing in a pile of images can make it do more."""

from __future__ import annotations

import base64
import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from numpy.typing import NDArray
from PIL import Image

from ganpipe.data import words
from ganpipe.data.manifest import COLUMNS, STATUSES, write_manifest
from ganpipe.data.report import aside, facts, write_report
from ganpipe.data.report.previews import write_previews
from ganpipe.errors import GanpipeError
from ganpipe.files import write_json

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>`|\n* [a](http://x) \u202egnp.exe"
)

Row = dict[str, Any]


def row(path: str, **known: Any) -> Row:
    """A manifest row: of an image to train with unless `known` says something else."""
    base = {name: "" if kind == "str" else 0 for name, kind in COLUMNS.items()}
    base |= {"path": path, "bytes": 900, "format": "PNG", "width": 8, "height": 8, "mode": "L"}
    base |= {"status": "ok", "split": "train"} | known
    if base["status"] == "ok":
        return base | {"shard": "raw-00000.tar"}
    return base | {"split": "", "offset": -1}


def flat(value: int, side: int = 8) -> NDArray[np.uint8]:
    return np.full((side, side, 1), value, np.uint8)


def pile(
    folder: Path,
    rows: list[Row],
    pixels: Mapping[str, NDArray[np.uint8]] | NDArray[np.uint8],
    classes: list[str] | None = None,
) -> Path:
    """data/raw, data/train and data/test below `folder`, the images by path (or all alike)."""
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS).sort_values("path")
    frame = frame.reset_index(drop=True)
    (folder / "raw").mkdir(parents=True)
    write_manifest(frame, folder / "raw")
    for split in ("train", "test"):
        used = frame[frame["split"] == split]
        if isinstance(pixels, np.ndarray):
            images = np.broadcast_to(pixels, (len(used), *pixels.shape))
        else:
            images = np.stack([pixels[path] for path in used["path"]])
        (folder / split).mkdir()
        np.save(folder / split / "images-00000.npy", images)
        if classes:
            numbers = {name: number for number, name in enumerate(classes)}
            np.save(folder / split / "labels.npy", used["label"].map(numbers).to_numpy(np.int64))
        count, height, width, channels = images.shape
        shape = {"height": height, "width": width, "channels": channels}
        made = {**shape, "classes": classes or [], "count": count, "sha256": split * 8}
        write_json(folder / split / "dataset.json", made)
    return folder


def report(folder: Path) -> Path:
    datasets = {split: folder / split for split in ("train", "test")}
    write_report(folder / "raw", datasets, folder / "report")
    return folder / "report"


class Page(HTMLParser):
    """The elements of a page, its text, and its pictures as (alt, title, pixels)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.pictures: list[tuple[str, str, NDArray[np.uint8]]] = []
        self.feed((folder / "data.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.elements.append((tag, known))
        if tag == "img":
            kind, _, content = str(known["src"]).partition(";base64,")
            assert kind == "data:image/webp"
            with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
                pixels = np.asarray(picture.convert("L"))
            self.pictures.append((str(known["alt"]), str(known["title"]), pixels))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def after(self, text: str, count: int = 1) -> list[str]:
        place = self.texts.index(text) + 1
        return self.texts[place : place + count]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two classes, both sides, several reasons; the grey value of an image is its number."""
    rows, pixels = [], {}
    for number in range(60):
        label = ("cat", "dog")[number % 3 == 0]
        path = f"{label}/{number:03d}.png"
        split = "test" if number % 10 == 0 else "train"
        rows.append(row(path, label=label, split=split, caption=f"picture {number}"))
        pixels[path] = flat(number)
    rows += [
        row("cat/zz-copy.png", status="duplicate-of", of="cat/001.png"),
        row("cat/zz-copy-of-copy.png", status="duplicate-of", of="dog/zz-alike.png"),
        row(
            "dog/zz-alike.png",
            status="near-duplicate-of",
            of="cat/010.png",
            perceptual_hash="00000000000000ff",
        ),
        row("dog/broken.png", status="truncated"),
        row("notes.txt", status="not-an-image", format="", width=0, height=0),
    ]
    rows[10]["perceptual_hash"] = "00000000000000f8"
    return pile(tmp_path, rows, pixels, ["cat", "dog"])


def test_the_same_inputs_give_the_same_bytes(mixed: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ganpipe.data.report import write_report\n"
        "root = Path(sys.argv[1])\n"
        "write_report(root / 'raw', {s: root / s for s in ('train', 'test')}, root / sys.argv[2])\n"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", script, str(mixed), f"report{seed}"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
    first = {path.name: path.read_bytes() for path in (mixed / "report1").iterdir()}
    assert set(first) == {"data.html", "summary.md", "data.png"}
    assert first == {path.name: path.read_bytes() for path in (mixed / "report2").iterdir()}


def test_every_file_is_counted_under_its_status(mixed: Path) -> None:
    page = Page(report(mixed))
    assert "54 images to train and 6 to test with" in page.texts
    for status, files in {
        "ok": "60",
        "truncated": "1",
        "not-an-image": "1",
        "duplicate-of": "2",
        "near-duplicate-of": "1",
    }.items():
        number, _, meaning = page.after(status, 3)
        assert number == files
        assert meaning == STATUSES[status]
    assert "animated" not in page.texts


def test_classes_are_counted_on_each_side(mixed: Path) -> None:
    page = Page(report(mixed))
    assert page.after("cat") == ["36 + 4"]
    assert page.after("dog") == ["18 + 2"]
    assert page.texts.index("cat") < page.texts.index("dog")


def test_samples_are_training_images_under_their_class_path_and_caption(mixed: Path) -> None:
    page = Page(report(mixed))
    samples = [each for each in page.pictures if each[0] not in ("kept", "set aside")]
    assert [title.partition("/")[0] for _, title, _ in samples] == ["cat"] * 8 + ["dog"] * 8
    assert len({title for _, title, _ in samples}) == 16
    for _, title, pixels in samples:
        number = int(title[4:7])
        assert (pixels == number).all()
        assert number % 10 != 0, "a test image"
        assert f"picture {number}" in page.texts


def test_duplicates_are_shown_as_the_used_image_that_they_repeat(mixed: Path) -> None:
    page = Page(report(mixed))
    kept = {(title, int(pixels.mean())) for alt, title, pixels in page.pictures if alt == "kept"}
    assert kept == {("cat/001.png", 1), ("cat/010.png", 10)}
    assert "3 bits of 64 differ" in page.texts
    assert page.after("cat/zz-copy-of-copy.png", 2)[-1] == "dog/zz-alike.png"


def test_near_duplicates_are_shown_side_by_side_where_ingest_kept_a_preview(mixed: Path) -> None:
    assert "no picture is kept" in Page(report(mixed)).texts
    write_previews(mixed / "raw", [("dog/zz-alike.png", Image.new("L", (300, 200), 77))])
    page = Page(report(mixed))
    (alike,) = [pixels for alt, _, pixels in page.pictures if alt == "set aside"]
    assert alike.shape[1] == 128
    assert abs(float(alike.mean()) - 77) < 2  # WebP of this size is lossy
    assert "no picture is kept" not in page.texts


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    rows = [row(f"{number}{HOSTILE}", label=HOSTILE, caption=HOSTILE) for number in range(4)]
    rows += [row(f"t{number}", label="plain", split="test") for number in range(4)]
    rows += [
        row(f"9{HOSTILE}", status="truncated"),
        row("9/" + "x<" * 2000, status="not-an-image"),
        row(f"9/{HOSTILE}{HOSTILE}", status="duplicate-of", of=f"0{HOSTILE}"),
    ]
    return pile(tmp_path, rows, flat(1), [HOSTILE, "plain"])


def test_names_are_text_and_the_page_asks_for_nothing(hostile: Path) -> None:
    page = Page(report(hostile))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "href"]
        assert tag == "img" or "src" not in attributes
    assert any(words.shown(HOSTILE, 60) in text for text in page.texts)
    assert not any("\u202e" in text for text in page.texts)
    style = page.texts.index(next(text for text in page.texts if ":root" in text))
    assert all(len(text) < 300 for text in page.texts[style + 1 :])
    # what holds even if all of the above should fail
    policy = next(known for _, known in page.elements if "http-equiv" in known)["content"]
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_names_are_text_in_the_summary(hostile: Path) -> None:
    source = (report(hostile) / "summary.md").read_text(encoding="utf-8")
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(source)
    elements = HTMLParser()
    found: list[str] = []
    elements.handle_starttag = lambda tag, attrs: found.append(tag)  # type: ignore[method-assign]
    elements.feed(html)
    assert set(found) <= {"h1", "p", "strong", "img", "code", "ul", "li"} | {
        *("table", "thead", "tbody", "tr", "th", "td")
    }
    assert found.count("img") == 1
    assert found.count("tr") == (1 + 4) + (1 + 2) + (1 + 5)  # heads, statuses, classes, sizes
    assert html.count("&lt;script&gt;") == 4  # a class, two files, the original of one of them


def test_the_summary_is_short_and_points_to_the_page(tmp_path: Path) -> None:
    classes = [f"class {number}" for number in range(30)]
    rows = [
        row(f"{label}/{number}", label=label, split=("train", "test")[number % 2])
        for label in classes
        for number in range(4)
    ]
    rows += [row(f"x{number:03d}", status="animated") for number in range(40)]
    folder = report(pile(tmp_path, rows, flat(3), classes))
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert "**60 images** to train and **60** to test with; 8 × 8 grey; 30 classes" in text  # noqa: RUF001
    assert "40 files of 160 set aside (25.0 %)" in text
    assert "| *10 more* | 20 | 20 |" in text
    assert text.count("| `class ") == 20
    assert text.count(": animated") == 10
    assert "- and 30 more" in text
    assert "`data/report/data.html`" in text
    assert "(data.png)" in text
    with Image.open(folder / "data.png") as picture:
        assert picture.width >= 64


def test_without_classes_there_is_one_grid_of_samples(tmp_path: Path) -> None:
    rows = [row(f"{number:03d}", split=("train", "test")[number % 4 == 0]) for number in range(120)]
    page = Page(report(pile(tmp_path, rows, flat(9))))
    assert len(page.pictures) == 64
    assert "Classes" not in page.texts
    assert "Samples" in page.texts


def test_many_classes_are_summed(tmp_path: Path) -> None:
    classes = [f"class {number}" for number in range(230)]
    rows = [
        row(f"{label}/{number}", label=label, split=("train", "test")[number % 2])
        for label in classes
        for number in range(2)
    ]
    page = Page(report(pile(tmp_path, rows, flat(0), classes)))
    assert "and 30 smaller classes with 30 + 30 images" in page.texts
    assert len(page.pictures) == 50  # one image each of the classes that are sampled


def test_a_page_of_noise_stays_below_3_megabytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (9, 160, 160, 3), dtype=np.uint8)
    classes = [f"{number:02d}" + "ß" * 200 for number in range(60)]
    rows, pixels = [], {}
    for number in range(540):
        path = f"{number:04d}" + "ü" * 3000
        split = "test" if number >= 480 else "train"
        rows.append(row(path, label=classes[number % 60], split=split, caption="ö" * 999))
        pixels[path] = noise[number % 9]
    rows += [
        row(f"z{number:04d}" + "ü" * 3000, status="duplicate-of", of=rows[number]["path"])
        for number in range(300)
    ]
    page = report(pile(tmp_path, rows, pixels, classes)) / "data.html"
    assert 1_000_000 < page.stat().st_size < 3_000_000


def test_two_hundred_thousand_files_take_seconds(tmp_path: Path) -> None:
    count = 200_000
    numbers = np.arange(count)
    paths = np.char.add("folder/image-", np.char.zfill(numbers.astype(str), 6))
    repeats, test = numbers % 4 == 3, numbers % 12 == 0
    frame = pd.DataFrame([row("")]).loc[np.zeros(count, int)].reset_index(drop=True)
    frame = frame.assign(path=paths, label="a", width=numbers + 1, height=numbers % 900 + 1)
    frame["split"] = np.where(repeats, "", np.where(test, "test", "train"))
    frame["status"] = np.where(repeats, "duplicate-of", "ok")
    frame["of"] = np.where(repeats, np.roll(paths, 3), "")
    frame["shard"] = np.where(repeats, "", "raw-00000.tar")
    frame["offset"] = np.where(repeats, -1, 0)
    root = pile(tmp_path, frame.to_dict("records"), flat(1, 4), ["a"])
    began = time.process_time()
    page = Page(report(root))
    assert time.process_time() - began < 6  # some 1.5 s when nothing else runs
    assert "and 49,800 more files" in page.texts
    assert page.after("duplicate-of") == ["50,000"]


def test_a_rare_reason_is_not_crowded_out_by_a_frequent_one() -> None:
    rows = [row(f"a{number:04d}", status="animated") for number in range(900)]
    rows += [row(f"b{number:04d}", status="too-small") for number in range(150)]
    rows += [row("z", status="encrypted"), row("ok")]
    groups = {each.status: each for each in aside.set_aside(pd.DataFrame(rows), 200)}
    assert [file.path for file in groups["encrypted"].files] == ["z"]
    assert [file.path for file in groups["animated"].files] == [f"a{n:04d}" for n in range(100)]
    assert sum(len(each.files) for each in groups.values()) == 200
    assert {name: len(each.files) + each.more for name, each in groups.items()} == {
        "animated": 900,
        "too-small": 150,
        "encrypted": 1,
    }


@given(st.lists(st.integers(0, 10**7), min_size=1), st.booleans())
def test_a_histogram_counts_every_value_once(values: list[int], logarithmic: bool) -> None:
    seen = facts.histogram("", np.array(values), str, always_logarithmic=logarithmic)
    assert float(seen.median) == statistics.median(values)
    assert (float(seen.smallest), float(seen.largest)) == (min(values), max(values))
    if min(values) == max(values):
        assert seen.bins == []
        return
    assert sum(each.count for each in seen.bins) == len(values)
    assert len(seen.bins) <= facts.BINS + 1
    assert max(each.height for each in seen.bins) == 100.0
    for each in seen.bins:
        start, stop = (float(word) for word in each.range.removeprefix("from ").split(" to "))
        last = each is seen.bins[-1]
        inside = sum(start <= value < stop or (last and value == stop) for value in values)
        assert inside == each.count


@given(st.text(max_size=400), st.integers(10, 150))
def test_a_name_is_shown_in_one_visible_line(name: str, limit: int) -> None:
    line = words.shown(name, limit)
    assert len(line) <= limit
    assert line.isprintable()
    if name.isprintable() and len(name) <= limit:
        assert line == name


@given(st.text(min_size=1, max_size=40))
def test_a_name_in_markdown_comes_out_as_it_is_shown(name: str) -> None:
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")

    def shown_in(source: str) -> list[str]:
        """What each piece of text shows; all of a name must be code."""
        pieces = [token for token in markdown.parse(source) if token.type == "inline"]
        return [
            "".join(child.content for child in piece.children or [] if child.type == "code_inline")
            for piece in pieces
        ]

    # spaces around code are cut, as they are where names are shown elsewhere
    assert [each.strip() for each in shown_in(f"- {words.code_span(name)}")] == [
        words.shown(name).strip()
    ]
    cells = shown_in(f"| a | b |\n| --- | --- |\n| {words.table_cell(name)} | `last` |\n")
    assert cells[3:] == ["last"]
    assert cells[2].strip() == words.shown(name, 60).replace("|", "\N{DIVIDES}").strip()


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        *((0, 9, "0 %"), (9, 9, "100 %"), (1, 10**6, "< 0.1 %"), (10**6 - 1, 10**6, "99.9 %")),
        *((1, 3, "33.3 %"), (0, 0, "0 %")),
    ],
)
def test_a_share_never_hides_a_file(part: int, whole: int, said: str) -> None:
    assert words.percent(part, whole) == said


def test_folders_that_do_not_belong_together_are_named(mixed: Path) -> None:
    made = {"height": 8, "width": 8, "channels": 1, "classes": [], "count": 2, "sha256": ""}
    np.save(mixed / "test" / "images-00000.npy", np.zeros((2, 8, 8, 1), np.uint8))
    write_json(mixed / "test" / "dataset.json", made)
    with pytest.raises(GanpipeError, match=r"test holds 2 images, but .*raw has 6 for test"):
        report(mixed)
    assert not (mixed / "report").exists()
