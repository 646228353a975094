"""The evaluation report says what was measured, asks for nothing, and can be looked at anywhere."""

from __future__ import annotations

import base64
import csv
import io
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image
from playwright.sync_api import Browser, Page

from ganpipe.errors import GanpipeError
from ganpipe.evaluation.distances import Extrapolation
from ganpipe.evaluation.report import (
    ClassRow,
    Extremes,
    Measure,
    Memorisation,
    Neighbours,
    Report,
    Sweep,
    latents,
    write_report,
)
from ganpipe.evaluation.report.charts import (
    MOST_POINTS,
    Chart,
    Series,
    curves,
    draw,
    nice_ticks,
    thinned,
)
from ganpipe.evaluation.report.numbers import difference, headline, number
from ganpipe.evaluation.report.page import PAGE_BYTES, html, scale
from ganpipe.evaluation.report.pictures import encode, film
from ganpipe.images import grid
from ganpipe.networks import Generator, NetworkConfig, build_generator, sample
from ganpipe.networks.generator import latent_vectors
from ganpipe.params import ModelParams

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>`|\n* [a](http://x) \u202egnp"
CURVES = "kimg,loss_generator,loss_discriminator,rank,augment,fid_quick\n" + "".join(
    f"{k},{1 + math.sin(k)},{0.5},{0.6},0,{'' if k % 2 else 400 / (k + 1)}\n" for k in range(12)
)
FID = Measure("fid_lite0_10k", 24.0, "lower", low=23.0, high=25.0, floor=8.0, champion=26.0)


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def animation(frames: int, side: int = 20, factor: int = 3) -> bytes:
    """Distinct frames of noise, each pixel repeated."""
    pictures = [
        Image.fromarray(noise(side, side, seed=each).repeat(factor, 0).repeat(factor, 1))
        for each in range(frames)
    ]
    out = io.BytesIO()
    pictures[0].save(out, "WEBP", save_all=True, append_images=pictures[1:], lossless=True)
    return out.getvalue()


def full(side: int = 8, channels: int = 1, warnings: tuple[str, ...] = ()) -> Report:
    """A report with every part."""
    shape = (side, side, channels)
    return Report(
        title="digits, run 7",
        measures=[FID, Measure("recall_lite0_10k", 0.5, "higher", "how much is covered")],
        protocol={"extractor": "lite0", "samples": 10_000},
        champion="version 3",
        warnings=warnings,
        lineage={"run": "20261122-1", "data": "ab12"},
        samples=noise(64, *shape),
        reals=noise(64, *shape, seed=1),
        classes=[ClassRow(n, noise(8, *shape), noise(8, *shape), 20.0, 4.0, 0.5) for n in "ab"],
        interpolations=noise(6, 9, *shape),
        truncation=Sweep((0.5, 1.0), noise(2, 8, *shape)),
        memorisation=Memorisation("No copying.", "nothing found", ["few are close"], ["mirrors"]),
        neighbours=Neighbours(
            noise(3, *shape),
            noise(3, 5, *shape),
            np.arange(15.0).reshape(3, 5),
            noise(3, 5, *shape),
            np.arange(15.0).reshape(3, 5) + 100,
            suspects=[False, True, False],
        ),
        extremes=Extremes(noise(16, *shape), np.ones(16), noise(16, *shape), np.ones(16)),
        film=animation(3),
        curves=curves(CURVES),
        extrapolation=Extrapolation(20.0, 4000.0, [500, 1000], [28.0, 24.0]),
    )


class Elements(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] if data.strip() else []


def pixels(uri: str) -> Any:
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"))


def opened(
    browser: Browser, folder: Path, width: int, scale: float = 1, dark: bool = False
) -> Page:
    """The page in a window, and everything that it asked for as its attribute `asked`."""
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        device_scale_factor=scale,
        color_scheme="dark" if dark else "light",
    )
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(message.text))
    page.goto((folder / "index.html").as_uri())
    page.wait_for_load_state("networkidle")
    assert [each for each in asked if not each.startswith(("data:", "file:"))] == []
    assert sum(each.startswith("file:") for each in asked) == 1
    return page


@pytest.mark.parametrize(("width", "screen"), [(360, 3), (1440, 1), (1440, 1.5), (2560, 1)])
def test_it_fits_every_screen_in_whole_pixels_and_asks_for_nothing(
    tmp_path: Path, browser: Browser, width: int, screen: float
) -> None:
    write_report(full(28), tmp_path)
    page = opened(browser, tmp_path, width, screen)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    factors = page.evaluate(
        "[...document.querySelectorAll('.crisp img')].map("
        "each => each.getBoundingClientRect().width * devicePixelRatio / each.naturalWidth)"
    )
    assert len(factors) > 250
    assert all(each >= 0.99 and abs(each - round(each)) < 0.02 for each in factors)
    broken = "[...document.images].filter(each => !each.complete || !each.naturalWidth).length"
    assert page.evaluate(broken) == 0
    # nothing is cut off on a phone, except what scrolls by itself
    assert page.evaluate(
        "[...document.querySelectorAll('p, h1, h2, h3, td, dd, li, .value')].every("
        "each => each.getBoundingClientRect().right <= innerWidth + 1)"
    )


def test_words_can_be_read_in_the_dark_and_on_paper(tmp_path: Path, browser: Browser) -> None:
    write_report(full(warnings=("few images",)), tmp_path)
    contrast = """() => {
        const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(Number)
            .map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        return Math.min(...[...document.querySelectorAll('p, small, td, dd, dt, .verdict')]
            .map(each => light(getComputedStyle(each).color)).map(ink =>
                (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05)));
    }"""
    for dark in (False, True):
        page = opened(browser, tmp_path, 1440, dark=dark)
        assert page.evaluate(contrast) >= 4.5  # WCAG 2.2, level AA
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(contrast) >= 4.5
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_each_picture_is_the_image_that_was_given() -> None:
    report = full(16, 3)
    page = Elements(html(report))
    shown = [(str(known["alt"]), known["src"]) for tag, known in page.tags if tag == "img"]
    for first, alt, images in ((0, "generated", report.samples), (64, "real", report.reals)):
        for place in (0, 63):
            name, uri = shown[first + place]
            assert name == f"{alt} image {place + 1}"
            np.testing.assert_array_equal(pixels(str(uri)), images[place])


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_report(full(), tmp_path / name)
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
        for name in ("first", "second")
    )
    assert {"index.html", "summary.md", "classes.csv", "fd_infinity.csv"} <= set(first)
    assert first == second


def test_what_is_missing_is_said_in_a_line_each(tmp_path: Path) -> None:
    report = Report("empty", [FID], {}, truncation="the generator has no latents")
    texts = Elements(html(report)).texts
    assert texts[texts.index("Truncation") + 1] == "the generator has no latents"
    assert texts[texts.index("Training film") + 1] == "training left no film"
    assert not {"Samples of each class", "Film", "Memorised"} & set(texts)
    assert texts.count("was not made in this evaluation") == 8
    write_report(report, tmp_path)
    assert (tmp_path / "plots" / "classes.csv").read_text() == "class,distance,floor,coverage\n"


def test_a_page_of_noise_stays_below_its_limit() -> None:
    shape = (256, 256, 3)
    large = replace(
        full(256, 3, warnings=("few images",)),
        classes=[ClassRow(str(n), noise(4, *shape), noise(4, *shape)) for n in range(12)],
        film=animation(24, side=240, factor=1),
    )
    page = html(large)
    assert 1_000_000 < len(page.encode()) < PAGE_BYTES
    assert "stored with a loss" in page
    assert len(html(full(28)).encode()) < 1_000_000


def test_names_and_warnings_are_text_and_cannot_do_anything() -> None:
    report = replace(
        full(warnings=(HOSTILE,)),
        title=HOSTILE,
        champion=HOSTILE,
        classes=[ClassRow(HOSTILE, noise(2, 8, 8, 1))],
        protocol={HOSTILE: HOSTILE},
        lineage={HOSTILE: HOSTILE},
        truncation=HOSTILE,
    )
    page = Elements(html(report))
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    for tag, known in page.tags:
        assert not [name for name in known if name.startswith("on")]
        assert str(known.get("href", "#")).startswith("#")
        assert tag == "img" or "src" not in known
    policy = next(known for _, known in page.tags if "http-equiv" in known)["content"]
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def summary(report: Report, folder: Path) -> tuple[str, Elements]:
    write_report(report, folder)
    source = (folder / "summary.md").read_text(encoding="utf-8")
    rendered = MarkdownIt("commonmark", {"html": True}).enable("table").render(source)
    return source, Elements(rendered)


def test_the_summary_holds_headline_table_verdict_and_warnings(tmp_path: Path) -> None:
    source, page = summary(full(warnings=("few images",)), tmp_path)
    assert len(source) < 2500
    assert "24.00" in page.texts[2]
    assert any("Better than the champion (version 3)" in text for text in page.texts)
    assert any("few images" in text for text in page.texts)
    assert any("No copying." in text for text in page.texts)
    assert sum(tag == "tr" for tag, _ in page.tags) == 3
    assert sum(tag == "td" for tag, _ in page.tags) == 12


def test_evidence_is_a_list_and_what_follows_is_not_part_of_it(tmp_path: Path) -> None:
    told = Memorisation("Copies.", "copies", ("One.", "Two."))
    _, page = summary(replace(full(), memorisation=told), tmp_path)
    assert sum(tag == "li" for tag, _ in page.tags) == 2
    last = page.texts.index("Two.")
    assert page.tags[-1][0] in ("p", "code")
    assert page.texts[last + 1].startswith("Protocol")


def test_names_are_text_in_the_summary(tmp_path: Path) -> None:
    wild = replace(
        full(warnings=(HOSTILE,)), title=HOSTILE, champion=HOSTILE, lineage={"a": HOSTILE}
    )
    _, page = summary(replace(wild, memorisation=Memorisation(HOSTILE, "suspicious")), tmp_path)
    assert {tag for tag, _ in page.tags} <= {"h1", "p", "strong", "blockquote", "code"} | {
        *("table", "thead", "tbody", "tr", "th", "td")
    }


@pytest.mark.parametrize(
    ("champion", "low", "high", "better", "verdict"),
    [
        (26.0, 23.0, 25.0, "lower", "better"),
        (26.0, None, None, "higher", "different"),
        (26.0, 23.0, 25.0, "higher", "worse"),
        (24.5, 23.0, 25.0, "lower", "unclear"),
        (22.0, 23.0, 25.0, "lower", "worse"),
        (24.0, None, None, "lower", "same"),
        (26.0, None, None, "neither", "different"),
    ],
)
def test_a_difference_is_called_what_it_is(
    champion: float, low: float | None, high: float | None, better: Any, verdict: str
) -> None:
    found = difference(Measure("x", 24.0, better, "", low, high, None, champion))
    assert found is not None
    assert found.verdict == verdict
    assert len({difference(replace(FID, champion=c)).mark for c in (26.0, 24.5, 22.0)}) == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (None, None, "better"),  # 2 apart, 1 sure
        (25.0, 27.0, "better"),  # the root of 1 + 1
        (24.0, 26.0, "unclear"),  # the root of 1 + 4
        (26.0, 36.0, "better"),  # reaches far, but away from the new value
    ],
)
def test_the_champion_s_own_interval_counts_on_the_side_of_the_new_value(
    low: float | None, high: float | None, verdict: str
) -> None:
    found = difference(replace(FID, champion_low=low, champion_high=high))
    assert found is not None
    assert found.verdict == verdict


def test_of_many_classes_the_first_have_pictures_and_all_have_rows(tmp_path: Path) -> None:
    shape = (8, 8, 1)
    rows = [
        ClassRow(f"kind {n}", noise(4 if n < 50 else 0, *shape), None, float(n), 1.0, 0.5)
        for n in range(60)
    ]
    write_report(replace(full(), classes=rows), tmp_path)
    with (tmp_path / "plots" / "classes.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == [row.name for row in rows]
    texts = " ".join(Elements((tmp_path / "index.html").read_text()).texts)
    assert "kind 49" in texts
    assert "kind 50" not in texts
    assert "60" in texts
    with Image.open(tmp_path / "plots" / "classes.png") as picture:
        assert picture.size[::-1] == grid(noise(50 * 4, *shape), 4).shape[:2]


def test_a_picture_that_the_pipeline_names_is_always_there(tmp_path: Path) -> None:
    write_report(replace(full(), neighbours="nothing to compare"), tmp_path)
    with Image.open(tmp_path / "plots" / "neighbours.png") as picture:
        assert np.asarray(picture).min() == 255


def test_evidence_on_memorisation_stands_on_page_and_in_summary(tmp_path: Path) -> None:
    told = Memorisation("It copies.", "copies", ["Forty are equal.", "By pixels too."], ["Crops."])
    write_report(replace(full(), memorisation=told), tmp_path)
    for name in ("index.html", "summary.md"):
        text = (tmp_path / name).read_text()
        assert all(each in text for each in ("It copies.", *told.evidence)), name


def test_what_is_not_finite_is_never_better() -> None:
    broken = replace(FID, value=math.nan)
    assert difference(broken) is None
    assert "not a finite number" in headline(broken, "v1")
    assert scale(broken) is None
    assert "not finite" in Elements(html(Report("x", [broken], {}))).texts
    assert difference(replace(FID, champion=math.inf)) is None


def test_a_share_is_only_given_of_positive_numbers() -> None:
    kid = Measure("kid", -0.0001, "lower", champion=0.002)
    assert difference(kid).amount == "\N{MINUS SIGN}0.00210"  # type: ignore[union-attr]
    assert difference(FID).amount == "\N{MINUS SIGN}2.000 (\N{MINUS SIGN}7.7 %)"  # type: ignore[union-attr]


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_is_shown_to_a_thousandth_of_itself(value: float) -> None:
    written = number(value).replace("\N{MINUS SIGN}", "-").replace(",", "")
    written = written.replace(" \N{MULTIPLICATION SIGN} 10", "e")
    plain = written.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    assert float(plain) == pytest.approx(value, rel=0.0051)
    assert len(written) <= 14


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_and_inside(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert 1 <= len(ticks) <= 6
    assert all(low - span * 1e-6 <= tick <= low + span * 1.000001 for tick in ticks)


def test_curves_keep_what_was_measured_and_break_at_what_was_not() -> None:
    charts = {each.title: each for each in curves(CURVES)}
    assert list(charts) == ["Quick FID", "Losses", "Rank"]  # augment is nought throughout
    assert charts["Quick FID"].series[0].points[:2] == [(0.0, 400.0), (2.0, 400 / 3)]
    points = [(0.0, 0.0), (1.0, 1.0), (2.0, math.nan), (3.0, 0.5), (4.0, 0.0)]
    drawn = draw(Chart("", [Series("", points)]))
    assert drawn is not None
    assert drawn.paths[0].count("M") == 2
    assert draw(Chart("", [Series("", [(0.0, math.nan)])])) is None


def test_a_long_curve_keeps_its_spikes() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    values[1234], values[4321] = 99.0, -99.0
    kept = thinned([(float(x), float(y)) for x, y in enumerate(values)])
    assert len(kept) <= MOST_POINTS
    assert {(1234.0, 99.0), (4321.0, -99.0)} <= set(kept)
    assert kept == sorted(kept)


def test_the_film_loses_its_enlargement_and_then_frames_never_its_end() -> None:
    made = animation(30)
    whole = film(made, 10**6)
    assert (whole.moving.width, whole.frames, whole.moving.lossless) == (20, 30, True)
    np.testing.assert_array_equal(pixels(whole.still.uris[0])[:, :, 0], noise(20, 20, seed=29))
    short = film(made, 6000)
    assert 3 <= short.frames < 30
    assert len(short.moving.uris[0]) <= 6000
    with Image.open(io.BytesIO(base64.b64decode(whole.moving.uris[0].partition(",")[2]))) as seen:
        assert getattr(seen, "n_frames", 1) == 30
    with pytest.raises(GanpipeError, match="film cannot be read"):
        film(b"no picture", 1000)


def test_only_uint8_images_are_shown() -> None:
    with pytest.raises(GanpipeError, match=r"not float32 \[2, 8, 8, 1\]"):
        encode(np.zeros((2, 8, 8, 1), np.float32), 1000)
    with pytest.raises(GanpipeError, match="no images"):
        encode(np.zeros((0, 8, 8, 1), np.uint8), 1000)


def test_plots_hold_the_numbers_of_the_page(tmp_path: Path) -> None:
    write_report(full(), tmp_path)
    with (tmp_path / "plots" / "fd_infinity.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["one_over_images"] for row in rows] == ["0", "0.001", "0.002"]
    assert [row["fit"] for row in rows] == ["20", "24", "28"]
    assert [row["distance"] for row in rows] == ["", "24", "28"]
    names = {path.name for path in (tmp_path / "plots").glob("*.png")}
    assert names == {"classes.png", "interpolations.png", "truncation.png", "neighbours.png"}


def generator(classes: int = 0, architecture: str = "dcgan") -> Generator:
    model = ModelParams(width=4, max_width=16, latent=8, architecture=architecture)
    config = NetworkConfig.of(model, 8, 8, 1, classes)
    torch.manual_seed(0)
    names = [str(n) for n in range(classes)]
    return Generator(build_generator(config).eval(), config, names, 0, [1] * classes)


@pytest.mark.parametrize("architecture", ["dcgan", "mlp", "article-mnist-bn"])
def test_given_latents_make_the_images_that_sampling_makes(architecture: str) -> None:
    made = generator(architecture=architecture)
    vectors = latent_vectors(made.config, 3, "grid", 0, 70)
    np.testing.assert_array_equal(
        latents.from_latents(made, vectors), sample(made, 70, 3, purpose="grid")
    )


def test_interpolations_begin_and_end_at_their_latents_and_keep_their_class() -> None:
    made = generator(classes=3)
    rows = latents.interpolations(made, seed=5, rows=4, steps=7)
    assert rows.shape == (4, 7, 8, 8, 1)
    ends = latent_vectors(made.config, 5, "interpolations", 0, 8)
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 0])
    expected = latents.from_latents(made, ends, labels).reshape(4, 2, 8, 8, 1)
    assert np.abs(rows[:, [0, -1]].astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(rows, latents.interpolations(made, seed=5, rows=4, steps=7))


@given(st.integers(0, 1000), st.floats(0, 1))
def test_the_arc_keeps_the_length_and_the_angle(seed: int, share: float) -> None:
    first, second = np.random.default_rng(seed).normal(size=(2, 6))
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    (middle,) = latents.spherical(
        first.astype(np.float32), second.astype(np.float32), np.array([share])
    )
    assert np.linalg.norm(middle) == pytest.approx(1.0, abs=1e-5)
    whole, part = np.arccos(first @ second), np.arccos(np.clip(first @ middle, -1, 1))
    assert part == pytest.approx(share * whole, abs=2e-3)


def test_vectors_without_an_arc_are_joined_by_a_line() -> None:
    one, shares = np.array([1.0, 0.0], np.float32), np.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose(latents.spherical(one, 3 * one, shares)[:, 0], [1.0, 2.0, 3.0])
    assert np.isfinite(latents.spherical(one, 0 * one, shares)).all()
    assert np.isfinite(latents.spherical(one, -one, shares)).all()


def test_the_sweep_ends_with_the_samples_and_classes_share_their_latents() -> None:
    made = generator(classes=3)
    sweep = latents.truncation_sweep(made, seed=2)
    np.testing.assert_array_equal(sweep.images[-1], sample(made, 8, 2, purpose="grid"))
    assert sweep.images.shape == (5, 8, 8, 8, 1)
    rows = latents.class_samples(made, seed=2, count=4)
    assert len(rows) == 3
    np.testing.assert_array_equal(rows[1], sample(made, 4, 2, purpose="classes", label=1))
    assert latents.class_samples(generator(), seed=2) == []
