"""Killed at each moment at which something is written, renamed or removed: the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.killing import told

WORKER = Path(__file__).with_name("kill_worker.py")
MOMENTS = 200  # more than a run has


def asserted_same(found: Any, *, killed: bool = True) -> None:
    other = {moment: what for moment, what in found["told"].items() if not what.startswith("same")}
    named = {moment: found["moments"][int(moment) - 1] for moment in other}
    assert other == {}, named
    assert not killed or "same" in found["told"].values()


def found_moments(names: list[str], *wanted: str) -> list[int]:
    """The last moment of each name."""
    last = {name: number for number, name in enumerate(names, 1)}
    return [last[name] for name in wanted]


def test_killed_while_old_states_go_outputs_come_and_the_run_ends(tmp_path: Path) -> None:
    names = told(WORKER, tmp_path, "local", "count")
    pid = next(name for name in names if "partial" in name).split(".")[-2]
    wanted = found_moments(
        names,
        "os.remove state-000000000080.jsonl",  # the best until then
        "os.rename .generator.json.partial." + pid + ".partial",
        "os.rename .checkpoints.partial." + pid + ".partial",  # with model/ done
        "open done",
        "os.remove state-000000000160.jsonl",
    )
    # the folder of a run that is counted is made by the run itself
    found = told(
        WORKER, tmp_path, "local", *(moment - 1 for moment in wanted), wanted[0], wanted[3]
    )
    asserted_same(found)


def test_killed_while_states_are_copied_and_the_machine_is_lost(tmp_path: Path) -> None:
    asserted_same(told(WORKER, tmp_path, "copied", 70, 120))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_killed_at_any_moment_at_all(tmp_path: Path, part: int) -> None:
    asserted_same(told(WORKER, tmp_path, "local", *range(1 + part, MOMENTS, 4)))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["copied", "fetched"])
def test_killed_at_many_moments_of_copying_and_fetching(tmp_path: Path, case: str) -> None:
    moments = range(1, 40) if case == "fetched" else range(5, MOMENTS, 5)
    asserted_same(told(WORKER, tmp_path, case, *moments))
