"""The flow `watch`: what it shows and says, and its form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from flows.watch import bar, headline, markdown, named
from ganpipe.drift.finding import Finding, Share, Watched
from ganpipe.params.watch import WatchParams

FAR = Finding("kid_lite0 of incoming images", 0.05, 0.04, 0.06, 0.002, 0.004, 300)
NEAR = Finding("shares of incoming images", 0.02, 0.02, 0.02, 0.1, 0.1, 300)


def watched(*findings: Finding, **more: Any) -> Watched:
    return Watched("ganpipe version 3", 1000, 400, 300, findings=findings, **more)


def test_drift_is_more_than_the_threshold_and_more_than_chance() -> None:
    assert FAR.drifted
    assert not NEAR.drifted
    assert not Finding("", 0.05, 0.001, 0.1, 0.002, 0.004, 30).drifted, "chance may explain it"
    assert not Finding("", 0.05, 0.04, 0.06, 0.002, 0.06, 30).drifted, "nobody asked for so little"


def test_the_headline_says_what_was_found() -> None:
    assert headline(watched(FAR, NEAR)) == (
        "drift from ganpipe version 3: kid_lite0 of incoming images 0.05 (threshold 0.004, "
        "chance 0.002)"
    )
    assert headline(watched(NEAR)).startswith("no drift from ganpipe version 3: shares of")
    few = watched(left_out={"incoming": "9 images, and at least 100 are needed"})
    assert headline(few) == "nothing was decided: 9 images, and at least 100 are needed"


def test_the_page_shows_pictures_numbers_and_shares_in_what_prefect_should_store() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 16, 64, 64, 3), dtype=np.uint8)
    names = ("incoming", "reference", "served")
    text = markdown(
        watched(
            FAR,
            NEAR,
            set_aside={"truncated": 2},
            left_out={"served": "no service has kept samples"},
            shares=(Share("a|b", 0.5, 0.48), Share("owl", 0.1, 0.4)),
            by_classifier=True,
            pictures=dict(zip(names, noise, strict=True)),
        )
    )
    assert text.startswith("# Drift: ganpipe version 3\n")
    assert "1,000 files listed, 400 not counted before, 300 images compared" in text
    assert "set aside: 2 truncated" in text
    assert [text.count(f"![{name}](data:image/") for name in names] == [1, 1, 1]
    assert len(text) < 65_000
    assert "| 0.05 | 0.04 ... 0.06 | 0.002 | 0.004 | ████████████████████ **drift** | 300 |" in text
    assert "| 0.02 |  | 0.1 | 0.1 | ████░░░░░░░░░░░░░░░░ ok | 300 |" in text
    assert text.index("`owl`") < text.index("`a\N{DIVIDES}b`"), "what changed most comes first"
    assert "as the reference's classifier sees them" in text
    assert "- served: no service has kept samples" in text


def test_pictures_are_kept_of_drift_alone() -> None:
    some = {"incoming": np.zeros((16, 8, 8, 1), np.uint8)}
    assert "](data:image/" in markdown(watched(FAR, pictures=some))
    assert "](data:image/" not in markdown(watched(NEAR, pictures=some))


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({}, "watch incoming images"),
        ({"model": "digits"}, "watch digits"),
        ({"source": "folder", "path": "/data/incoming"}, "watch folder incoming"),
        (
            {"source": "archive", "path": "https://me:secret@host/new.zip?token=secret"},
            "watch archive new.zip",
        ),
    ],
)
def test_the_name_of_a_run_tells_what_it_watches_and_no_secret(
    asked: dict[str, str], name: str
) -> None:
    assert named(asked) == name


@pytest.mark.parametrize(("share", "full"), [(-1.0, 0), (0.0, 0), (0.5, 10), (1.0, 20), (9.0, 20)])
def test_a_bar_has_its_ends(share: float, full: int) -> None:
    assert bar(share) == "█" * full + "░" * (20 - full)


def test_the_form_tells_every_parameter_with_bounds_and_choices() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.watch import watch

    schema = parameter_schema(watch.fn)
    assert list(schema.properties) == ["watch"]
    section = schema.definitions["WatchParams"]["properties"]
    assert all(each["description"] for each in section.values())
    assert section["source"]["enum"][:2] == ["as trained", "digits"]
    assert (section["shares"]["minimum"], section["shares"]["maximum"]) == (0, 1)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"source": "folder"}, "watch.source=folder needs watch.path"),
        ({"least": 200, "most": 100}, "watch.least=200 is more than watch.most=100"),
        ({"model": "a/b"}, "pattern"),
        ({"threshold": 1}, "Extra inputs"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        WatchParams(**asked)
