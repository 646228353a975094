"""An edit on the server is told from an old default, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from flows.edits import MISSING, Edit, merge

OLD = {"train": {"kimg": 100, "batch": 64}, "model": "a"}


def test_what_nobody_edited_follows_the_file() -> None:
    wanted = {"train": {"kimg": 200, "batch": 64, "new": 1}, "model": "b"}
    assert merge(wanted, OLD, OLD) == (wanted, [])
    assert merge(wanted, {}, {}) == (wanted, [])


def test_an_edit_stays_beside_other_keys_that_follow_the_file_and_is_named() -> None:
    wanted = {"train": {"kimg": 200, "batch": 128}, "model": "a"}
    there = {"train": {"kimg": 500, "batch": 64}, "model": "a"}
    merged, edits = merge(wanted, there, OLD)
    assert merged == {"train": {"kimg": 500, "batch": 128}, "model": "a"}
    assert edits == [Edit("train.kimg", 200, 500)]
    assert merge(wanted, there, OLD, replace=True) == (wanted, edits)


def test_an_edit_stays_through_later_ones() -> None:
    there, applied = {"train": {"kimg": 500, "batch": 64}, "model": "a"}, OLD
    for kimg in (200, 300):
        wanted = {"train": {"kimg": kimg, "batch": 64}, "model": "a"}
        there, edits = merge(wanted, there, applied)
        applied = wanted
        assert edits == [Edit("train.kimg", kimg, 500)]
    wanted = {"train": {"kimg": 500, "batch": 64}, "model": "a"}
    assert merge(wanted, there, applied) == (wanted, []), "both came to agree"


def test_an_interrupted_deploy_leaves_no_edit() -> None:
    """What was written, but not yet remembered, is what is wanted."""
    wanted = {"train": {"kimg": 200, "batch": 64}, "model": "a"}
    assert merge(wanted, wanted, OLD) == (wanted, [])
    assert merge(wanted, wanted, {}) == (wanted, [])


@pytest.mark.parametrize(
    ("there", "edit"),
    [
        ({"hourly": {"cron": "0 * * * *", "on": True}}, Edit("hourly.on", False, True)),
        ({"hourly": {"cron": "0 1 * * *", "on": False}}, None),
        ({}, Edit("hourly.cron", "0 * * * *", MISSING)),
    ],
)
def test_schedules_switched_edited_and_deleted_stay_so(
    there: dict[str, Any], edit: Edit | None
) -> None:
    ours = {"hourly": {"cron": "0 * * * *", "on": False}}
    merged, edits = merge(ours, there, ours)
    assert merged == there
    assert edit is None or edit in edits
    assert merge(ours, there, ours, replace=True)[0] == ours


def test_what_only_the_server_has_stays_and_what_ganpipe_gave_up_goes() -> None:
    assert merge({}, {"by hand": 1, "given up": 2}, {"given up": 2}) == (
        {"by hand": 1},
        [Edit("by hand", MISSING, 1)],
    )


def test_an_unknown_past_counts_as_an_edit() -> None:
    """A deployment of an earlier ganpipe, which remembered nothing."""
    merged, edits = merge({"kimg": 200}, {"kimg": 100}, {})
    assert (merged, edits) == ({"kimg": 100}, [Edit("kimg", 200, 100)])
