"""A stage under a flow: its output, its errors, and that nothing of it outlives the flow."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import processes
from flows.dvc_stage import is_cached
from flows.retries import StageError, is_outage
from flows.stage import TimeLimit, failed, run_stage
from ganpipe import workspace
from ganpipe.errors import GanpipeError

# Says what a stage says; with `hang`, starts children that only a thorough end reaches.
SCRIPT = """
import json, os, subprocess, sys, time
from pathlib import Path
def event(**values): print("::ganpipe " + json.dumps(values), flush=True)
event(stage="work", event="start")
mode = Path("mode.txt").read_text().strip()
print("reading images", flush=True)
event(stage="work", event="progress", done=1, total=2, unit="images", rate="")
if mode == "hang":
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    found = [os.getpid(), subprocess.Popen(sleep).pid,
             subprocess.Popen(sleep, start_new_session=True).pid]
    Path(os.environ["PIDS"] + ".new").write_text(json.dumps(found))
    os.rename(os.environ["PIDS"] + ".new", os.environ["PIDS"])
    print("hanging", flush=True)
    time.sleep(600)
if mode == "killed":
    os.kill(os.getpid(), 9)
if mode == "away":
    event(stage="work", event="error", message="it does not answer", causes=["A", "TimeoutError"])
    sys.exit(2)
if mode == "train":
    import signal
    def save(*_): Path("state.txt").write_text("saved"); sys.exit(143)
    signal.signal(signal.SIGTERM, save)
    time.sleep(600)
if mode == "known":
    event(stage="work", event="error", message="data.path=/x is empty: name another")
    sys.exit(2)
if mode == "unknown":
    sys.exit("a defect")
Path("out.txt").write_text(mode)
if mode == "last":
    import psutil
    if not Path("killed").exists():
        Path("killed").touch()
        (dvc,) = (each for each in psutil.Process().parents() if each.cmdline()[-2:-1] == ["run"])
        dvc.kill()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one stage, in a path with spaces."""
    for name in ("GANPIPE_STATE", "GIT_DIR", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIDS", str(tmp_path / "pids.json"))
    place = tmp_path / "a workspace"
    place.mkdir()
    workspace.git(place, "init", "--quiet", "--template=")
    (place / ".dvc").mkdir()
    (place / ".dvc" / "config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    (place / "work.py").write_text(SCRIPT, encoding="utf-8")
    (place / "dvc.yaml").write_text(
        "stages: {work: {cmd: python work.py, deps: [mode.txt], outs: [out.txt]}}\n",
        encoding="utf-8",
    )
    return place


def run(
    folder: Path, mode: str, on_line: Callable[[str], None] = print
) -> tuple[bool, list[dict[str, Any]]]:
    (folder / "mode.txt").write_text(mode, encoding="utf-8")
    events: list[dict[str, Any]] = []
    env = workspace.environment(folder, folder)
    result = run_stage("work", folder, env, events.append, on_line)
    assert result.seconds > 0
    return result.cached, events


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def hanging(tmp_path: Path) -> list[int]:
    file = tmp_path / "pids.json"
    wait_for(file.exists)
    found: list[int] = json.loads(file.read_text(encoding="utf-8"))
    return found


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_output_is_streamed_and_a_second_run_is_cached(folder: Path) -> None:
    lines: list[str] = []
    cached, events = run(folder, "fine", lines.append)
    assert not cached
    assert lines == ["reading images"]
    assert [event["event"] for event in events] == ["start", "progress"]
    assert run(folder, "fine", lines.append) == (True, [])
    (folder / "out.txt").unlink()
    assert run(folder, "fine", lines.append) == (True, [])
    assert (folder / "out.txt").read_text(encoding="utf-8") == "fine"


def test_a_stage_that_names_its_problem_fails_with_just_that(folder: Path) -> None:
    lines: list[str] = []
    with pytest.raises(GanpipeError) as caught:
        run(folder, "known", lines.append)
    assert str(caught.value) == "data.path=/x is empty: name another"
    assert lines == ["reading images"]


def test_a_stage_that_breaks_fails_with_its_last_lines(folder: Path) -> None:
    with pytest.raises(GanpipeError, match=r"(?s)stage work ended with code .*a defect"):
        run(folder, "unknown")


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", ""])
def test_a_stage_that_the_system_killed_fails_with_the_signal(
    folder: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", shell)  # DVC runs a stage by it; some become it, some wait for it
    with pytest.raises(GanpipeError, match=r"(?s)its last lines.*, killed by SIGKILL$"):
        run(folder, "killed")


def test_what_a_stage_put_out_before_dvc_was_killed_is_not_taken_and_made_again(
    folder: Path,
) -> None:
    with pytest.raises(GanpipeError, match="stage work ended with code"):
        run(folder, "last")
    assert (folder / "out.txt").read_text(encoding="utf-8") == "last"
    assert not (folder / "dvc.lock").exists()
    (folder / "out.txt").write_text("of nobody", encoding="utf-8")
    assert not run(folder, "last")[0]
    assert (folder / "out.txt").read_text(encoding="utf-8") == "last"


def test_what_a_dvc_that_was_killed_left_half_written_does_not_stop_the_next(
    folder: Path,
) -> None:
    run(folder, "fine")
    # it writes both in place
    (folder / "dvc.lock").write_text("")
    (folder / ".dvc" / "tmp" / "rwlock").write_text("")
    assert run(folder, "fine")[0], "the run-cache knows it"
    assert "out.txt" in (folder / "dvc.lock").read_text()

    (noted,) = (folder / ".dvc" / "cache" / "runs").glob("*/*/*")
    noted.unlink()  # its folder is made first
    os.utime(noted.parent, (0, 0))
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages:\n  work:\n    cm")
    assert not run(folder, "fine")[0]
    assert noted.exists()


def test_a_stage_cut_short_by_the_clock_saves_its_state_and_is_never_taken_for_whole(
    folder: Path,
) -> None:
    env = workspace.environment(folder, folder)
    (folder / "mode.txt").write_text("train", encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(TimeLimit, match=r"compute\.hours are over: the stage work"):
        run_stage("work", folder, env, print, print, seconds=5.0)
    assert time.monotonic() - began < 5.0 + processes.PATIENCE
    assert (folder / "state.txt").read_text(encoding="utf-8") == "saved"
    assert not (folder / "dvc.lock").exists()
    assert not is_cached("work", folder, env)
    state = failed(TimeLimit.of("work"))
    assert (state.type.value, state.name) == ("FAILED", "TimeLimit")


def test_a_stage_that_ends_in_time_is_not_disturbed(folder: Path) -> None:
    (folder / "mode.txt").write_text("fine", encoding="utf-8")
    env = workspace.environment(folder, folder)
    assert not run_stage("work", folder, env, print, print, seconds=60.0).cached


def test_what_led_to_a_stages_problem_comes_with_it(folder: Path) -> None:
    with pytest.raises(StageError) as caught:
        run(folder, "away")
    assert is_outage(caught.value)


def test_an_interrupted_flow_leaves_no_process_of_the_stage(folder: Path, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line == "hanging":
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(folder, "hang", interrupt)
    assert all(map(is_gone, hanging(tmp_path)))
    assert time.monotonic() - began < processes.PATIENCE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_flow_leaves_no_process_of_the_stage(
    folder: Path, tmp_path: Path, repository_root: Path, number: signal.Signals
) -> None:
    (folder / "mode.txt").write_text("hang", encoding="utf-8")
    flow = (
        "import os, sys; from pathlib import Path; from flows.stage import run_stage\n"
        "run_stage('work', Path(sys.argv[1]), os.environ, print, print)\n"
    )
    env = workspace.environment(repository_root)
    killed = subprocess.Popen(
        [sys.executable, "-c", flow, str(folder)], env=env, stdout=subprocess.DEVNULL
    )
    try:
        pids = hanging(tmp_path)
        assert not any(map(is_gone, pids))
    finally:
        os.kill(killed.pid, number)
        killed.wait()
    wait_for(lambda: all(map(is_gone, pids)))


def test_a_command_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = ["bash", "-c", "trap '' TERM; echo $$; while :; do sleep 0.1; done"]
    process = processes.start(stubborn, cwd=tmp_path, env=os.environ, patience=0.3)
    pid = int(next(processes.lines(process)))
    processes.stop(process)
    assert is_gone(pid)


def test_what_a_finished_command_leaves_behind_is_ended(tmp_path: Path) -> None:
    forgetful = ["bash", "-c", "setsid sleep 600 & echo $!; exit 3"]
    process = processes.start(forgetful, cwd=tmp_path, env=os.environ)
    pid, *_ = map(int, processes.lines(process))
    assert process.wait() == 3
    assert is_gone(pid)


def test_a_problem_that_the_user_can_mend_is_logged_without_its_traceback() -> None:
    failed(GanpipeError("data.path=x does not exist"))
    logger = logging.getLogger("prefect.flow_runs")

    def log(problem: BaseException | None) -> logging.LogRecord:
        about = (type(problem), problem, None) if problem else (None, None, None)
        return logger.makeRecord("", logging.ERROR, "", 1, "unexpected exception", (), about)

    mended, defect = log(GanpipeError("data.path=x does not exist")), log(ValueError("a defect"))
    assert logger.filter(mended)
    assert (mended.getMessage(), mended.exc_info) == ("data.path=x does not exist", None)
    assert logger.filter(defect)
    assert defect.exc_info is not None
    assert not logger.filter(log(None))
