"""History: whole lines in, whole curves out."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from ganpipe.training.history import Best, History, best, write_curves


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history.jsonl")


def test_a_resumed_history_ends_where_its_state_does(history: History) -> None:
    for images in (100, 200):
        history.append(images, {"rank": images / 3})
    kept = history.content
    assert history.path.read_bytes() == kept
    history.append(300, {"rank": 0.5})
    with history.path.open("ab") as file:
        file.write(b'{"images": 400, "ra\xff')  # killed while it wrote, and damaged
    again = History(history.path)
    again.restore(kept)
    assert again.lines == history.lines[:2]
    assert again.lines[0]["rank"] == 33.3333
    assert history.path.read_bytes() == again.content == kept


def test_a_process_that_does_not_write_knows_the_same(history: History) -> None:
    other = History(history.path)
    history.append(100, {"rank": 0.5})
    kept = history.content
    other.append(100, {"rank": 0.5}, write=False)
    assert other.content == kept
    history.append(200, {"rank": 0.5})
    other.restore(kept, write=False)
    assert other.content == kept
    assert history.path.read_bytes() == history.content != kept


def test_the_best_is_the_lowest_and_earliest_finite_distance() -> None:
    distances = [9.0, float("nan"), 5.0, None, 5.0, 7.0]
    lines = [
        {"images": number, "rank": 0.5} | ({} if value is None else {"fid_quick_x": value})
        for number, value in enumerate(distances)
    ]
    assert best(lines) == Best(2, 5.0)
    assert best(lines[:2]) == Best(0, 9.0)
    assert best(lines[1:2]) is None
    assert best([]) is None


def test_the_table_has_a_column_for_the_distance_whatever_its_protocol(
    history: History, tmp_path: Path
) -> None:
    history.append(100, {"rank": 0.5, "lr": 0.001})
    history.append(200, {"rank": 0.6, "fid_quick_lite0_1k": 30.0, "spread": 0.9})
    history.append(200, {"end": "no snapshot was better"})
    write_curves(history.lines, tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    shown = [(row["kimg"], row["rank"], row["fid_quick"], row["spread"]) for row in rows]
    assert shown == [("0.1", "0.5", "", ""), ("0.2", "0.6", "30.0", "0.9")]
