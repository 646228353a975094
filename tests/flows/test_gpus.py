"""No two runs have the same GPU, and a run's stages see its own and no others; without any GPU."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from flows import gpus
from flows.stage import stage
from ganpipe import workspace
from ganpipe.errors import GanpipeError

HOLD = """
import sys, time
from pathlib import Path
from flows import gpus
state, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
with gpus.own(state, ["0", "1", "2"], count) as env:
    own = env[gpus.VARIABLE].split(",")
    for name in own:
        (state / f"used-{name}").mkdir()
    print(env[gpus.VARIABLE], flush=True)
    time.sleep(seconds)
    for name in own:
        (state / f"used-{name}").rmdir()
"""


def start(code: Path, state: Path, count: int, seconds: float = 600.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(state), str(count), str(seconds)]
    return subprocess.Popen(command, cwd=code, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("count", "given", "wanted"),
    [
        (2, None, ["0", "1"]),
        (2, "3, 5", ["3", "5"]),
        (1, "GPU-8932f937", ["GPU-8932f937"]),
        (1, "1,nonsense", ["1"]),  # CUDA looks no further than the first that is none
        (0, "", []),
    ],
)
def test_they_are_named_as_the_variable_of_the_worker_names_them(
    count: int, given: str | None, wanted: list[str]
) -> None:
    assert gpus.names(count, given) == wanted


def test_two_processes_never_have_the_same_and_one_that_was_killed_has_none(
    tmp_path: Path, repository_root: Path
) -> None:
    holder = start(repository_root, tmp_path, 2)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "0,1\n"
        with gpus.own(tmp_path, ["0", "1", "2"], 1) as env:
            assert env == {"CUDA_VISIBLE_DEVICES": "2"}
    finally:
        holder.kill()
        holder.communicate()
    with gpus.own(tmp_path, ["0", "1", "2"], 3) as env:
        assert env == {"CUDA_VISIBLE_DEVICES": "0,1,2"}


def test_those_that_want_several_wait_for_each_other_and_all_come_through(
    tmp_path: Path, repository_root: Path
) -> None:
    started = [start(repository_root, tmp_path, count, 0.5) for count in (2, 2, 1)]
    told = [process.communicate(timeout=120)[0].strip() for process in started]
    # a GPU that somebody else uses ends a process before it tells
    assert [process.returncode for process in started] == [0, 0, 0]
    assert [len(each.split(",")) for each in told] == [2, 2, 1]
    assert Counter(",".join(told).split(",")).keys() <= {"0", "1", "2"}


def test_it_says_that_it_waits_once(tmp_path: Path, repository_root: Path) -> None:
    said: list[str] = []
    holder = start(repository_root, tmp_path, 3, 4.0)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with gpus.own(tmp_path, ["0", "1", "2"], 2, said.append):
            assert said == ["waits for 2 of this machine's GPUs"]
    finally:
        holder.kill()
        holder.communicate()


def test_more_than_there_are_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    told = "train.devices=2, but this run may use 1 GPUs"
    with pytest.raises(GanpipeError, match=told), gpus.own(tmp_path, ["5"], 2):
        pytest.fail("let in")


def test_a_stage_sees_those_that_were_chosen(tmp_path: Path) -> None:
    folder = tmp_path / "a workspace"
    (folder / ".dvc").mkdir(parents=True)
    workspace.git(folder, "init", "--quiet", "--template=")
    command = f"printenv {gpus.VARIABLE} > seen"
    (folder / "dvc.yaml").write_text(f"stages: {{work: {{cmd: {command}, outs: [seen]}}}}\n")
    with disable_run_logger(), gpus.own(tmp_path, ["0", "3"], 2) as env:
        ended = stage.fn("work", folder, folder, lambda event: None, env=env)
    assert ended.is_completed(), ended
    assert (folder / "seen").read_text() == "0,3\n"
