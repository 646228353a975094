"""Gates: each limit that is broken is named, with the numbers and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ganpipe.data.gates import check_gates
from ganpipe.data.ingest import ingest
from ganpipe.errors import GanpipeError
from tests.data.conftest import ONE, Pile, chosen, pile_of


def summary(**changes: Any) -> dict[str, Any]:
    """Of a source that breaks no limit."""
    good = {
        "count": 90,
        "files": 100,
        "statuses": {"ok": 90, "truncated": 10},
        "splits": {"train": 80, "test": 10},
        "classes": ["cat", "dog"],
        "label_counts": {"cat": 60, "dog": 30},
        "unlabelled_because": "",
    }
    return {**good, **changes}


UNLABELLED = {"classes": [], "unlabelled_because": "no image says its class"}
GONE = {"label_counts": {"cat": 60, "dog": 30, "eel": 0}}
BROKEN = [
    (
        {},
        {"min_images": 91},
        ["90 of 100 files are usable images, fewer than data.min_images=91: add images, or lower"],
    ),
    (
        {},
        {"max_set_aside": 0.09},
        ["10 of 100 files (10.0%) are set aside, more than data.max_set_aside=0.09:"],
    ),
    (
        {"splits": {"train": 89, "test": 1}},
        {},
        ["90 usable images leave 1 for test, at least 2 are needed:", "data.test_fraction=0.3"],
    ),
    (
        {"splits": {"train": 0, "test": 90}},
        {},
        ["90 usable images leave 0 for train"],
    ),
    (
        {},
        {"min_per_class": 31},
        ["class 'dog' has 30 usable images, fewer than data.min_per_class=31"],
    ),
    (
        {},
        {"max_imbalance": 1.9},
        ["class 'cat' has 60 images and 'dog' 30, more than data.max_imbalance=1.9 times as many"],
    ),
    (
        {},
        {"expected_classes": ("cat", "dog", "eel", "fox")},
        ["data.expected_classes are not what was found; missing: eel, fox"],
    ),
    ({}, {"expected_classes": ("cat",)}, ["not expected: dog"]),
    (GONE, {"expected_classes": ("cat", "dog", "eel")}, ["missing: eel"]),
    (GONE, {"min_per_class": 1}, ["class 'eel' has 0 usable images, fewer than"]),
    (UNLABELLED, {"expected_classes": ("cat",)}, ["missing: cat; no image says its class"]),
    (UNLABELLED, {"min_per_class": 5}, ["data.min_per_class=5 cannot be told without classes: no"]),
    (UNLABELLED, {"max_imbalance": 2}, ["data.max_imbalance=2 cannot be told without classes: no"]),
]


@pytest.mark.parametrize(("found", "limits", "words"), BROKEN)
def test_a_broken_limit_is_told_with_its_numbers(
    found: dict[str, Any], limits: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(GanpipeError) as raised:
        check_gates(summary(**found), chosen(**limits))
    told = str(raised.value)
    assert all(word in told for word in words)
    assert len(told.splitlines()) == 2
    assert told.endswith("(100 files: 90 ok, 10 truncated)")


@pytest.mark.parametrize(
    "limits",
    [
        {"min_images": 90},
        {"max_set_aside": 0.1},
        {"min_per_class": 30},
        {"max_imbalance": 2},
        {"expected_classes": ("dog", "cat")},
    ],
)
def test_a_limit_that_is_just_kept_is_kept(limits: dict[str, Any]) -> None:
    check_gates(summary(), chosen(**limits))


def test_a_share_is_compared_as_it_is_written() -> None:
    """1 - 95 / 100 is more than 0.05, as computers count."""
    for aside in range(1, 97):
        found = summary(count=100 - aside)
        check_gates(found, chosen(max_set_aside=aside / 100))
        with pytest.raises(GanpipeError, match="are set aside"):
            check_gates(found, chosen(max_set_aside=aside / 100 - 0.001))


def test_hidden_files_are_nobodys_loss() -> None:
    found = summary(files=200, statuses={"ok": 90, "hidden": 100, "truncated": 10})
    check_gates(found, chosen(max_set_aside=0.1))
    with pytest.raises(GanpipeError, match=r"10 of 100 files \(10\.0%\)"):
        check_gates(found, chosen(max_set_aside=0.09))


def test_all_broken_limits_are_told_at_once() -> None:
    limits = {"min_images": 95, "max_set_aside": 0.01, "min_per_class": 40, "max_imbalance": 1.5}
    with pytest.raises(GanpipeError) as raised:
        check_gates(
            summary(splits={"train": 90, "test": 0}),
            chosen(**limits, expected_classes=("cat", "eel")),
        )
    told = str(raised.value)
    names = [*limits, "test_fraction", "expected_classes"]
    assert all(f"data.{name}" in told for name in names)
    assert len(told.splitlines()) == len(names) + 1


def test_ingest_keeps_to_its_limits_and_leaves_nothing(tmp_path: Path) -> None:
    pile = Pile(pile_of(10) | {"a/x": b"no image"})
    told = r"10 of 11 (.|\n)*class 'a' has 5 .*min_per_class=6(.|\n)*set aside 'a/x': not-an-im"
    with pytest.raises(GanpipeError, match=told):
        ingest(pile, tmp_path / "data" / "raw", chosen(min_per_class=6, min_images=11), ONE)
    assert list((tmp_path / "data").iterdir()) == []
