"""An edit on the server is told from an old default, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from flows.edits import MISSING, Edit, merge, prints

OLD = {"train": {"kimg": 100, "batch": 64}, "model": "a"}
APPLIED = prints(OLD)


def test_what_nobody_edited_follows_the_file() -> None:
    wanted = {"train": {"kimg": 200, "batch": 64, "new": 1}, "model": "b"}
    assert merge(wanted, OLD, APPLIED) == (wanted, [])
    assert merge(wanted, {}, {}) == (wanted, [])


def test_an_edit_stays_beside_other_keys_that_follow_the_file_and_is_named() -> None:
    wanted = {"train": {"kimg": 200, "batch": 128}, "model": "a"}
    there = {"train": {"kimg": 500, "batch": 64}, "model": "a"}
    merged, edits = merge(wanted, there, APPLIED)
    assert merged == {"train": {"kimg": 500, "batch": 128}, "model": "a"}
    assert edits == [Edit("train.kimg", 200, 500)]
    assert merge(wanted, there, APPLIED, replace=True) == (wanted, edits)


def test_an_edit_stays_through_later_ones() -> None:
    there, applied = {"train": {"kimg": 500, "batch": 64}, "model": "a"}, APPLIED
    for kimg in (200, 300):
        wanted = {"train": {"kimg": kimg, "batch": 64}, "model": "a"}
        there, edits = merge(wanted, there, applied)
        applied = prints(wanted)
        assert edits == [Edit("train.kimg", kimg, 500)]
    wanted = {"train": {"kimg": 500, "batch": 64}, "model": "a"}
    assert merge(wanted, there, applied) == (wanted, []), "both came to agree"


def test_an_interrupted_deploy_leaves_no_edit() -> None:
    """What was written, but not yet remembered, is what is wanted."""
    wanted = {"train": {"kimg": 200, "batch": 64}, "model": "a"}
    assert merge(wanted, wanted, APPLIED) == (wanted, [])
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
    merged, edits = merge(ours, there, prints(ours))
    assert merged == there
    assert edit is None or edit in edits
    assert merge(ours, there, prints(ours), replace=True)[0] == ours


def test_what_only_the_server_has_stays_and_what_ganpipe_gave_up_goes() -> None:
    assert merge({}, {"by hand": 1, "given up": 2}, prints({"given up": 2})) == (
        {"by hand": 1},
        [Edit("by hand", MISSING, 1)],
    )


def test_an_unknown_past_counts_as_an_edit() -> None:
    """A deployment of an earlier ganpipe, which remembered nothing."""
    merged, edits = merge({"kimg": 200}, {"kimg": 100}, {})
    assert (merged, edits) == ({"kimg": 100}, [Edit("kimg", 200, 100)])


def test_a_print_knows_the_value_that_a_form_writes_and_is_short_for_any() -> None:
    long = {"data": {"classes": [f"class {number}" for number in range(1000)], "kimg": 150.0}}
    kept = prints(long)
    assert len(str(kept)) < 100
    there = {"data": {**long["data"], "kimg": 150}}
    assert merge({}, there, kept) == ({}, []), "nobody edited it, and it is wanted no more"
    for other in ([], ["a"], None, 1, 1.5, True, "150", {}):
        assert prints({"key": other}) != prints({"key": 150.0})
