"""ganpipe is operated from Prefect's page: by a browser, on servers and a worker of its own.

The tests tell one story and run in its order: a first training from the form, a second one that
is cancelled and gone on with, and a person's decision between the two.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from ganpipe import params, stages
from tests.browser import prefect_pages as prefect
from tests.browser.installation import Installation, wait_for
from tests.browser.pictures import picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
DEPLOYMENTS = (
    *("train/on-demand", "retrain/nightly", "sweep/on-demand", "promote/on-demand"),
    *("generate/on-demand", "watch/hourly", "housekeeping/weekly"),
)


def start(page: Page, installation: Installation, kimg: int, **register: str) -> str:
    """Start a training from its form, and see its page."""
    train = installation.deployment("train/on-demand")["id"]
    prefect.open_form(page, installation.prefect, train)
    prefect.fill(page, str(kimg), "train", "kimg")
    for key, value in register.items():
        prefect.choose(page, page, value, "register", key)
    run = prefect.submit(page)
    page.goto(f"{installation.prefect}/runs/flow-run/{run}")
    return run


@pytest.fixture(scope="module")
def first(browser: Browser, installation: Installation) -> str:
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        return start(context.new_page(), installation, 12)


@pytest.fixture(scope="module")
def trained(installation: Installation, first: str) -> str:
    installation.wait_for_state(first, "Completed")
    return first


@pytest.fixture(scope="module")
def second(browser: Browser, installation: Installation, trained: str) -> str:
    """Longer than the first, so better; nobody is asked to promote it."""
    with browser.new_context(viewport={"width": 1440, "height": 900}) as context:
        return start(context.new_page(), installation, 48, approval="never")


def alias(version: Page, name: str) -> Locator:
    """An alias on a version's page in MLflow."""
    return version.get_by_role("status", name=name, exact=True)


def words(text: str) -> list[str]:
    """What of a description Markdown and typography leave as it is."""
    return re.findall(r"[a-z]{2,}|[0-9.,]+", text.lower())


def described(deployment: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Section, key and description of every parameter, as the schema has them."""
    schema = deployment["parameter_openapi_schema"]
    found = []
    by_place = sorted(schema["properties"].items(), key=lambda each: int(each[1]["position"]))
    for name, value in by_place:
        reference = value.get("$ref") or (value.get("allOf") or [{}])[0].get("$ref", "")
        section = schema.get("definitions", {}).get(reference.rpartition("/")[2])
        if section is None:
            found.append(("", name, value["description"]))
            continue
        found += [(name, key, each["description"]) for key, each in section["properties"].items()]
    return found


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_form_describes_every_parameter_in_its_order(
    page: Page, installation: Installation, name: str
) -> None:
    deployment = installation.deployment(name)
    prefect.open_form(page, installation.prefect, deployment["id"])
    shown = prefect.fields(page)
    wanted = described(deployment)
    assert [(each["section"], each["key"]) for each in shown] == [each[:2] for each in wanted]
    for each, (_, key, told) in zip(shown, wanted, strict=True):
        assert words(told), key
        assert words(each["told"]) == words(told)


def test_the_form_of_train_is_filled_from_params_yaml_and_tells_bounds(
    page: Page, installation: Installation
) -> None:
    train = installation.deployment("train/on-demand")["id"]
    prefect.open_form(page, installation.prefect, train)
    chosen = params.load(installation.folder / "params.yaml").dump()
    shown = {(each["section"], each["key"]): each for each in prefect.fields(page)}
    assert list(shown) == [(section, key) for section in chosen for key in chosen[section]]
    for (section, key), each in shown.items():
        value = chosen[section][key]
        if isinstance(value, str):
            assert each["value"] == value, key
        elif isinstance(value, int | float) and not isinstance(value, bool):
            assert float(each["value"]) == value, key
    assert shown["train", "kimg"]["told"].endswith(
        "in thousand images (above 0, at most 1,000,000)"
    )
    assert shown["train", "lr_final"]["told"].endswith("(at least 0, at most 1)")
    picture(page, "form")


def test_an_invalid_value_is_refused_before_any_work(
    page: Page, installation: Installation
) -> None:
    train = installation.deployment("train/on-demand")["id"]
    prefect.open_form(page, installation.prefect, train)
    prefect.fill(page, "-3", "train", "kimg")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("field 'train.kimg'").first).to_be_visible()
    expect(page.get_by_text("-3 is less than or equal to the minimum of 0").first).to_be_visible()
    assert installation.call("flow_runs/count", {}) == 0


def test_a_finished_run_shows_its_stages_report_and_gate(
    page: Page, installation: Installation, trained: str
) -> None:
    names = [*stages.STAGES, "register"]
    with page.expect_response(re.compile("graph-v2")) as graph:
        page.goto(f"{installation.prefect}/runs/flow-run/{trained}")
    drawn = sorted(node["label"] for _, node in graph.value.json()["nodes"])
    assert drawn == sorted(names)
    expect(page.get_by_text("train digits dcgan 12kimg").first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    page.get_by_text("Artifacts", exact=True).click()
    with page.expect_navigation():
        page.get_by_role("link", name="report").click()
    assert min(prefect.loaded(page.get_by_alt_text("samples"))) > 100
    expect(page.get_by_role("heading", name="Gate")).to_be_visible()


def test_the_link_to_mlflow_shows_the_version_and_its_alias(
    page: Page, installation: Installation, trained: str
) -> None:
    shown = installation.artifact(trained, "report")
    assert shown is not None
    page.goto(f"{installation.prefect}/artifacts/artifact/{shown['id']}")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="ganpipe 1").click()
    version = opened.value
    assert version.url.startswith(f"{installation.mlflow}/#/models/ganpipe/versions/1")
    expect(alias(version, "champion")).to_be_visible()


def test_a_training_is_seen_to_move_under_its_name(
    page: Page, installation: Installation, second: str
) -> None:
    page.goto(f"{installation.prefect}/runs/flow-run/{second}")
    expect(page.get_by_text("train digits dcgan 48kimg").first).to_be_visible()
    wait_for(lambda: installation.artifact(second, "train"), 240)
    bar = installation.artifact(second, "train")
    assert bar is not None
    seen = set()

    def moved() -> bool:
        page.goto(f"{installation.prefect}/artifacts/artifact/{bar['id']}")
        seen.add(page.get_by_text(re.compile(r"Progress:\s*\d+\s*%")).last.inner_text())
        return len(seen) > 1

    wait_for(moved, 120)


def test_the_newest_samples_are_seen_while_it_trains(
    page: Page, installation: Installation, second: str
) -> None:
    shown = installation.artifact(second, "run")
    assert shown is not None
    page.goto(f"{installation.prefect}/artifacts/artifact/{shown['id']}")
    assert min(prefect.loaded(page.get_by_alt_text("samples"))) > 100
    expect(page.get_by_text(re.compile(r"^Samples after [\d.]+ kimg"))).to_be_visible()
    assert installation.call(f"flow_runs/{second}")["state"]["name"] == "Running"


def test_a_cancelled_training_leaves_no_process_and_goes_on_where_it_was(
    page: Page, installation: Installation, second: str
) -> None:
    page.goto(f"{installation.prefect}/runs/flow-run/{second}")
    wait_for(lambda: installation.artifact(second, "train"), 240)
    assert len(installation.processes()) >= 4
    prefect.confirm(page, "Cancel", "Confirm")
    wait_for(lambda: not installation.processes(), 15)
    expect(page.get_by_text("Cancelled", exact=True).first).to_be_visible()
    prefect.confirm(page, "Retry", "Retry")
    installation.wait_for_state(second, "Completed")
    page.reload()
    expect(page.get_by_text(re.compile("resumed from the state at"))).to_be_visible()


def test_stages_from_the_cache_are_marked_in_list_and_graph(
    page: Page, installation: Installation, second: str
) -> None:
    installation.wait_for_state(second, "Completed")
    with page.expect_response(re.compile("graph-v2")) as graph:
        page.goto(f"{installation.prefect}/runs/flow-run/{second}")
    drawn = {node["label"] for _, node in graph.value.json()["nodes"]}
    page.get_by_text("Task Runs", exact=True).click()
    for name in ("ingest (cached)", "preprocess (cached)", "reference (cached)"):
        assert name in drawn
        task = page.locator(".state-list-item", has_text=name).first
        expect(task.get_by_text("Cached", exact=True)).to_be_visible()
    assert {"train", "evaluate"} <= drawn
    picture(page, "run")
    shown = installation.artifact(second, "run")
    assert shown is not None
    page.goto(f"{installation.prefect}/artifacts/artifact/{shown['id']}")
    prefect.loaded(page.get_by_alt_text("samples"))
    page.set_viewport_size({"width": 1440, "height": 1400})
    picture(page.locator(".artifact-data-markdown"), "run-samples")


def decide(page: Page) -> bool:
    """Look at both versions and approve; False where the server's database was too busy for it."""
    page.reload()
    page.get_by_role("button", name="Resume").click()
    dialogue = page.locator(".p-modal")
    both = dialogue.get_by_alt_text("samples")
    expect(both).to_have_count(2)
    for each in both.all():
        assert min(prefect.loaded(each)) > 100
        assert prefect.hidden_by(each) == []
    prefect.choose(page, dialogue, "approve", "decision")
    prefect.fill(dialogue, "Ada", "name")
    prefect.fill(dialogue, "sharper digits", "reason")
    picture(page, "approval")
    with page.expect_response(re.compile("/resume$")) as told:
        dialogue.get_by_role("button", name="Submit").click()
    return told.value.ok


def test_a_person_sees_both_versions_decides_and_the_alias_moves(
    page: Page, installation: Installation, second: str
) -> None:
    installation.wait_for_state(second, "Completed")
    promote = installation.deployment("promote/on-demand")["id"]
    prefect.open_form(page, installation.prefect, promote)
    prefect.fill(page, "2", "version")
    prefect.fill(page, "the longer training", "reason")
    prefect.choose(page, page, "person", "approval")
    run = prefect.submit(page)
    installation.wait_for_state(run, "Suspended")
    page.goto(f"{installation.prefect}/runs/flow-run/{run}")
    expect(page.get_by_text("promote ganpipe 2").first).to_be_visible()
    wait_for(lambda: decide(page), 120)
    installation.wait_for_state(run, "Promoted")
    expect(page.get_by_text("Promoted", exact=True).first).to_be_visible()
    page.goto(f"{installation.mlflow}/#/models/ganpipe/versions/1?workflowType=machine_learning")
    expect(alias(page, "previous-champion")).to_be_visible()
    page.goto(f"{installation.mlflow}/#/models/ganpipe/versions/2?workflowType=machine_learning")
    expect(alias(page, "champion")).to_be_visible()
    for panel in page.get_by_role("button", name="Close").all():  # an assistant's, beside it
        panel.click()
    picture(page, "version")
