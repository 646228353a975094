"""One installation for all tests of a module, and pages that complain of nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.browser.installation import Installation, installed


@pytest.fixture(scope="module")
def installation(
    repository_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    with installed(repository_root, tmp_path_factory.mktemp("browser") / "digits") as ready:
        yield ready


@pytest.fixture
def page(browser: Browser, installation: Installation) -> Iterator[Page]:
    """A page of 1440 x 900 whose scripts fail nowhere and which asks no other server."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    expect.set_options(timeout=60_000)  # milliseconds, on a machine that trains meanwhile
    wrong: list[str] = []
    ours = (installation.prefect, installation.mlflow, "data:", "blob:")

    def asked(request: Request) -> None:
        if not request.url.startswith(ours):
            wrong.append(request.url)

    context.on("request", asked)
    context.on("weberror", lambda failed: wrong.append(str(failed.error)))
    yield context.new_page()
    context.close()
    assert wrong == []
