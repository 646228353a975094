"""Progress: lines that tell rate and time left, and a last one, once."""

from __future__ import annotations

import pytest

from ganpipe import events
from ganpipe.events import PREFIX, parse, progress


class Clock:
    """A time that goes on when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events, "time", clock)
    return clock


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_lines_tell_rate_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("ingest", "reading images", 10_000) as bar:
        for _ in range(100):
            clock.now += 0.5
            bar.advance(100)
    said = lines(capsys)
    assert said[0] == "reading images: 1000 of 10000 images  200 a second, 0:45 left"
    assert said[1] == "reading images: 2000 of 10000 images  200 a second, 0:40 left"
    assert said[-1] == "reading images: 10000 of 10000 images  200 a second"
    assert len(said) == 10


def test_what_was_known_says_nothing_about_the_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("ingest", "reading images", 100_000) as bar:
        bar.skip(99_000)
        clock.now += 10
        bar.advance(500)
        assert lines(capsys) == ["reading images: 99500 of 100000 images  50 a second, 0:10 left"]


@pytest.mark.parametrize("step", [1, 7, 64, 100])
def test_the_last_line_comes_once_however_fast_it_went(
    clock: Clock, capsys: pytest.CaptureFixture[str], step: int
) -> None:
    with progress("preprocess", "resizing", 100) as bar:
        for start in range(0, 100, step):
            bar.advance(min(step, 100 - start))
        bar.advance(0)
        bar.update(100)
    assert lines(capsys) == ["resizing: 100 of 100 images"]


def test_the_last_line_comes_when_all_was_known(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("ingest", "reading images", 12) as bar:
        bar.skip(12)
    assert lines(capsys) == ["reading images: 12 of 12 images"]


def test_a_loop_that_fails_claims_no_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress("ingest", "reading images", 12) as bar:
        bar.advance(5)
        raise KeyError
    assert lines(capsys) == []


def test_events_go_with_the_lines(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(events.VARIABLE, "1")
    with progress("ingest", "reading images", 100) as bar:
        clock.now += 6
        bar.advance(60)
        clock.now += 1
        bar.advance(10)
        bar.advance(30)
    told = [parse(line) for line in lines(capsys) if line.startswith(PREFIX)]
    assert told == [
        {
            "stage": "ingest",
            "event": "progress",
            "done": done,
            "total": 100,
            "unit": "images",
            "rate": rate,
        }
        for done, rate in [(60, "10 a second, 0:04 left"), (100, "14 a second")]
    ]


def test_lines_for_people_are_no_events() -> None:
    assert parse("ingest: reading images: 12 of 12 images") is None


@pytest.mark.parametrize("name", ["x", "3", "{}", "[1]", '{"stage": "ingest"'])
def test_a_line_that_only_looks_like_an_event_is_one_for_people(name: str) -> None:
    assert parse(f"{PREFIX}{name}") is None
