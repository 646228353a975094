"""The file of a sweep: what was done stays done, what failed is tried again."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from ganpipe import sweeping
from ganpipe.errors import GanpipeError
from ganpipe.sweeping import Trial

DIGEST = "a" * 64


def done(number: int, value: float | None, problem: str = "") -> Trial:
    return Trial(number, {"train.lr": number / 8}, value, "fid_lite0_10k", problem, f"run-{number}")


def test_what_was_added_is_there_in_the_next_process_and_the_best_is_first(tmp_path: Path) -> None:
    with sweeping.opened(tmp_path, DIGEST) as sweep:
        sweep.mlflow_run, sweep.protocol = "m", {"metric": "fid_lite0_10k"}
        for trial in (done(0, 3.0), done(1, None, "out of memory"), done(2, 2.0), done(3, 2.0)):
            sweep.add(trial)
    with sweeping.opened(tmp_path, DIGEST) as again:
        assert again == sweep
        assert [each.number for each in again.finished] == [2, 3, 0]
        assert [each.number for each in again.failed] == [1]
        assert [again.is_done(number) for number in range(5)] == [True, False, True, True, False]
        assert again.before(2) == [({"train.lr": 0.0}, 3.0), ({"train.lr": 0.125}, None)]
        again.add(done(1, 1.0))
        assert [each.number for each in again.finished] == [1, 2, 3, 0]
    with sweeping.opened(tmp_path, "b" * 64) as other:
        assert other.trials == {}


def test_nobody_else_has_it_meanwhile(tmp_path: Path) -> None:
    with sweeping.opened(tmp_path, DIGEST):
        with pytest.raises(GanpipeError, match="under way"), sweeping.opened(tmp_path, DIGEST):
            pytest.fail("opened twice")
        with sweeping.opened(tmp_path, "b" * 64):
            pass
    with sweeping.opened(tmp_path, DIGEST):
        pass


def test_the_tables_name_every_trial_the_best_first(tmp_path: Path) -> None:
    with sweeping.opened(tmp_path, DIGEST) as sweep:
        assert sweeping.markdown(sweep, 4) == "# 4 trainings to come\n"
        for trial in (done(0, 3.0), done(1, None, "no | memory"), done(2, 2.0)):
            sweep.add(trial)
    lines = sweeping.markdown(sweep, 4).splitlines()
    assert lines[0] == "# 2 of 4 trainings measured, 1 failed"
    assert lines[2:6] == [
        "| trial | train.lr | fid_lite0_10k | run |",
        "| --- | --- | --- | --- |",
        "| 2 | 0.25 | 2 | run-2 |",
        "| 0 | 0 | 3 | run-0 |",
    ]
    assert lines[6].startswith("| 1 | 0.125 | failed |")
    assert lines[6].count("|") == 5
    rows = list(csv.DictReader(io.StringIO(sweeping.csv(sweep))))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert [row["value"] for row in rows] == ["3.0", "", "2.0"]
    assert rows[1]["problem"] == "no | memory"
