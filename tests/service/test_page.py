"""The page works in a browser, on any screen, by keyboard, and asks nobody else for anything."""

from __future__ import annotations

import base64
import os
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from ganpipe.images import png_bytes
from ganpipe.serving import generate
from tests.service.running import Serve, Service
from tests.service.versions import CLASSES, NAME, Versions

TOKEN = "correct-horse"  # noqa: S105 - of a service that ends with its test


@pytest.fixture(scope="module")
def service(serve: Serve, versions: Versions) -> Iterator[Service]:
    with serve(versions.state, versions.uri, "--model", f"models:/{NAME}/1") as running:
        yield running


@pytest.fixture
def wrong() -> Iterator[list[str]]:
    """What pages complained of, and what they asked others for: nothing, at the end of a test."""
    found: list[str] = []
    yield found
    assert found == []


def opened(
    browser: Browser, service: Service, wrong: list[str], width: int = 1440, *, dark: bool = False
) -> Page:
    """The page with its first images, in a window."""
    page = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
    ).new_page()
    ours = (service.address, "data:", f"blob:{service.address}")
    page.on("request", lambda asked: asked.url.startswith(ours) or wrong.append(asked.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{service.address}/")
    page.wait_for_selector("#grid img")
    return page


def sources(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all("#grid img", "all => all.map(each => each.src)")
    return found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1440, 2560])
def test_it_fits_every_screen_in_whole_pixels(
    browser: Browser, service: Service, wrong: list[str], width: int, dark: bool
) -> None:
    page = opened(browser, service, wrong, width, dark=dark)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sides = page.eval_on_selector_all(
        "#grid img", "all => all.map(each => each.getBoundingClientRect().width)"
    )
    assert len(sides) == 16
    assert all(side % 8 == 0 and side >= 40 for side in sides)
    small = page.evaluate(
        "[...document.querySelectorAll('button, select, input')].filter(each => "
        "each.checkVisibility() && each.getBoundingClientRect().height < 40).length"
    )
    assert small == 0  # fingers
    if folder := os.environ.get("GANPIPE_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/page-{width}-{'dark' if dark else 'light'}.png")


def test_seed_class_truncation_and_number_decide_what_is_shown(
    browser: Browser, service: Service, versions: Versions, wrong: list[str]
) -> None:
    page = opened(browser, service, wrong)
    page.fill("#seed", "7")
    page.fill("#n", "5")
    page.fill("#truncation", "0.5")
    page.select_option("#label", CLASSES[2])
    page.click("#again")
    expect(page.locator("#grid img")).to_have_count(5)
    expect(page.locator("#told")).to_have_text("5 images of seed 7")
    images = generate(versions.generators["1"], 5, 7, label=2, truncation=0.5)
    shown = [base64.b64decode(each.partition(",")[2]) for each in sources(page)]
    assert shown == [png_bytes(image) for image in images]
    assert page.get_attribute("#grid img", "alt") == f"1: {CLASSES[2]}"
    assert page.text_content("#version") == "version 1"


def test_the_command_beside_the_images_can_be_pasted_into_a_shell(
    browser: Browser, service: Service, wrong: list[str], tmp_path: Path
) -> None:
    page = opened(browser, service, wrong)
    page.fill("#seed", "7")
    page.select_option("#label", CLASSES[2])
    expect(page.locator("#told")).to_have_text("16 images of seed 7")
    command = page.text_content("#curl")
    assert command is not None
    assert "'" in CLASSES[2]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    expected = service.ask(n=16, seed=7, label=CLASSES[2], format="png").content
    assert (tmp_path / "grid.png").read_bytes() == expected


def test_the_grid_and_the_images_can_be_saved(
    browser: Browser, service: Service, versions: Versions, wrong: list[str], tmp_path: Path
) -> None:
    page = opened(browser, service, wrong)
    page.fill("#seed", "9")
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_have_text("16 images of seed 9")
    for name in ("png", "zip"):
        with page.expect_download() as download:
            page.click(f"[data-format={name}]")
        assert download.value.suggested_filename == f"{NAME}-1-seed-9.{name}"
        download.value.save_as(tmp_path / name)
    image = generate(versions.generators["1"], 16, 9)[15]
    assert zipfile.ZipFile(tmp_path / "zip").read("00015.png") == png_bytes(image)
    assert (tmp_path / "png").read_bytes() == service.ask(n=16, seed=9, format="png").content


def test_it_can_be_used_by_keyboard_alone(
    browser: Browser, service: Service, wrong: list[str]
) -> None:
    page = opened(browser, service, wrong)
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert reached[:6] == ["label", "seed", "n", "truncation", "submit", "again"]
    before = sources(page)
    page.focus("#n")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#grid img")).to_have_count(17)
    page.focus("[type=submit]")
    page.keyboard.press("Space")
    expect(page.locator("#grid img").first).not_to_have_attribute("src", before[0])


def test_it_asks_for_the_token_where_there_is_one(
    browser: Browser, serve: Serve, versions: Versions, tmp_path: Path
) -> None:
    folder = str(versions.folder / "workspace-1" / "model")
    with serve(tmp_path, "", "--model", folder, GANPIPE_SERVICE_TOKEN=TOKEN) as service:
        page = browser.new_page()
        page.goto(f"{service.address}/")
        page.wait_for_selector("#told.bad")
        assert page.text_content("#told") == "This service needs a token."
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("#grid img")


def test_what_the_service_refuses_is_told(
    browser: Browser, service: Service, wrong: list[str]
) -> None:
    page = opened(browser, service, wrong)
    page.route("**/generate", lambda route: route.abort())
    page.click("#again")
    page.wait_for_selector("#told.bad")
    page.unroute("**/generate")
    page.click("#again")
    page.wait_for_selector("#told:not(.bad)")
    assert len(sources(page)) == 16


def test_how_to_ask_is_told_on_a_page_of_its_own(
    browser: Browser, service: Service, wrong: list[str]
) -> None:
    page = opened(browser, service, wrong, 360)
    page.get_by_text("For programs").click()
    page.get_by_role("link", name="How to ask").click()
    told = page.locator("section", has=page.get_by_role("heading", name="POST /generate"))
    expect(told.locator("dt", has_text="truncation")).to_be_visible()
    for each in ("n", "seed", "label", "format", "400", "503"):
        expect(told.locator("dt").get_by_text(each, exact=True)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
