"""Prefect's pages as a person uses them: forms, buttons, pictures."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, expect

LABEL = ".schema-form-property__label"
# what Prefect answers where its SQLite is locked, and how often a person presses a button again
BUSY, TIMES = 503, 5
# a dump of every field of a form, in the page's order
READ = """all => all.filter(each => !each.querySelector('.schema-form-property')).map(each => {
  const label = of => of.querySelector(':scope > .p-label__header %s')?.innerText
  const section = each.parentElement.closest('.schema-form-property')
  const input = each.querySelector('input[type=number], textarea')
  return {
    section: section ? label(section) : '',
    key: label(each),
    told: each.querySelector(':scope > .p-label__header .p-label__description')?.innerText ?? '',
    value: input ? input.value : each.querySelector('.p-select-button__value')?.innerText,
  }
})"""


def open_form(page: Page, address: str, deployment: str) -> None:
    """The form of a deployment's custom run."""
    page.goto(f"{address}/deployments/deployment/{deployment}/run")
    expect(page.locator(LABEL).first).to_be_visible()


def fields(page: Page) -> list[dict[str, Any]]:
    """Section, key, description and value of each field, as they stand in the page."""
    read: list[dict[str, Any]] = page.locator(".schema-form-property").evaluate_all(READ % LABEL)
    for each in read:
        for name in ("section", "key"):
            each[name] = each[name].removesuffix(" (Optional)").strip()
    return read


def field(scope: Page | Locator, *keys: str) -> Locator:
    """A field by its key, below its section."""
    found: Page | Locator = scope
    for key in keys:
        label = f':text-matches("^{re.escape(key)}( .Optional.)?$")'
        found = found.locator(f".schema-form-property:has(> .p-label__header {LABEL}{label})")
    assert isinstance(found, Locator)
    return found


def fill(scope: Page | Locator, value: str, *keys: str) -> None:
    field(scope, *keys).locator("input, textarea").fill(value)


def choose(page: Page, scope: Page | Locator, value: str, *keys: str) -> None:
    # by keyboard: the list closes at once under a mouse that is as quick as this one
    field(scope, *keys).locator(".p-select-button__control").press("Space")
    page.locator(".p-select-option__text").get_by_text(value, exact=True).click()
    expect(field(scope, *keys).locator(".p-select-button__value")).to_have_text(value)


def submit(page: Page) -> str:
    """Press the form's button; the id of the flow run that it made."""
    for _ in range(TIMES):
        with page.expect_response(re.compile("/create_flow_run$")) as told:
            page.get_by_role("button", name="Submit").click()
        if told.value.status != BUSY:
            break
    assert told.value.ok, told.value.text()
    return str(told.value.json()["id"])


def confirm(page: Page, button: str, again: str) -> None:
    """Press a button of a run's page, and the one of the dialogue that it opens."""
    for _ in range(TIMES):
        page.get_by_role("button", name=button).first.click()
        with page.expect_response(re.compile("/set_state$")) as told:
            page.locator(".p-modal").get_by_role("button", name=again).click()
        if told.value.status != BUSY:
            break
        page.reload()
    assert told.value.ok, told.value.text()


def loaded(picture: Locator) -> tuple[int, int]:
    """Natural width and height of a picture, in pixels, once it is decoded."""
    expect(picture).to_be_visible()
    size: list[int] = picture.evaluate(
        "async each => { await each.decode(); return [each.naturalWidth, each.naturalHeight] }"
    )
    return size[0], size[1]


def hidden_by(picture: Locator) -> list[str]:
    """What cuts a part of a picture off: elements that scroll, the window."""
    found: list[str] = picture.evaluate(
        """each => {
          const inner = each.getBoundingClientRect(), found = []
          const cut = outer => inner.left < outer.left || inner.right > outer.right
            || inner.top < outer.top || inner.bottom > outer.bottom
          for (let over = each.parentElement; over; over = over.parentElement)
            if (getComputedStyle(over).overflow != 'visible' && cut(over.getBoundingClientRect()))
              found.push(over.className)
          const all = {left: 0, top: 0, right: innerWidth, bottom: innerHeight}
          return cut(all) ? [...found, 'the window'] : found
        }"""
    )
    return found
