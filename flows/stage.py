"""One DVC stage as one Prefect task: streamed output, progress, and nothing left behind.

The task must be called directly in the flow's main thread, never submitted: a cancelled run
raises there, and only there can the stage be ended with it.
"""

from __future__ import annotations

import logging
import math
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.states import Completed, Failed

from flows import dvc_stage, processes
from flows.artifacts import StageProgress
from flows.retries import StageError, patiently
from ganpipe import events, stages
from ganpipe.errors import GanpipeError
from ganpipe.workspace import environment

STAGES = tuple(stages.STAGES)
LAST_LINES = 15

Event = dict[str, Any]


class TimeLimit(GanpipeError):  # noqa: N818 - the name of its state
    """The hours of a run are over; what its stages came to is kept, and a retry goes on there."""

    @classmethod
    def of(cls, name: str) -> TimeLimit:
        return cls(f"compute.hours are over: the stage {name} is not finished")


@dataclass(frozen=True)
class StageResult:
    """How a stage ended well: `cached` when its outputs came from DVC and no code ran."""

    name: str
    cached: bool
    seconds: float


def run_stage(
    name: str,
    workspace: Path,
    env: Mapping[str, str],
    on_event: Callable[[Event], None],
    on_line: Callable[[str], None],
    seconds: float = math.inf,
) -> StageResult:
    """Run one stage of the workspace's dvc.yaml; every process of it is gone on return.

    Output comes line by line: events to `on_event`, the rest to `on_line`. Raises GanpipeError
    with the stage's own message, or with its last lines when it ended without one, and TimeLimit
    when it was ended after so many `seconds`: DVC takes nothing of it then.
    """
    began = time.monotonic()
    seen = set()
    process = processes.start(
        dvc_stage.command("run", name),
        cwd=workspace,
        env={**env, events.VARIABLE: "1", "GANPIPE_SUPERVISED": "1"},
    )
    over = threading.Event()

    def end() -> None:
        over.set()
        process.terminate()  # its guard ends the stage, which has time to save its state

    clock = threading.Timer(min(max(seconds, 0.0), threading.TIMEOUT_MAX), end)
    clock.daemon = True
    clock.start()

    def watch(event: Event) -> None:
        seen.add(event["event"])
        on_event(event)

    try:
        problem = follow(process, watch, on_line, f"stage {name}", workspace)
    finally:
        clock.cancel()
        processes.stop(process)
    if over.is_set() and process.returncode != 0:
        raise TimeLimit.of(name)
    if problem is not None:
        raise problem
    return StageResult(name, "start" not in seen, time.monotonic() - began)


def follow(
    process: subprocess.Popen[bytes],
    on_event: Callable[[Event], None],
    on_line: Callable[[str], None],
    name: str,
    folder: Path,
) -> GanpipeError | None:
    """Pass on what a child says until it ends: events to `on_event`, the rest to `on_line`.

    Returns what went wrong: the problem that it named, or its last lines where it named none.
    """
    problem: GanpipeError | None = None
    last: deque[str] = deque(maxlen=LAST_LINES)
    for line in processes.lines(process):
        event = events.parse(line)
        if event is None:
            last.append(line)
            if line and not problem:  # what follows a named problem only repeats it
                on_line(line)
            continue
        if event["event"] == "error":
            problem = StageError(str(event["message"]), event.get("causes", []))
        on_event(event)
    if process.wait() == 0 or problem:
        return problem
    tail = "\n".join(last)
    return GanpipeError(
        f"{name} ended with code {process.returncode} in {folder}; its last lines:\n{tail}"
    )


@task(name="stage", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def stage(
    name: str,
    repo: Path,
    workspace: Path,
    on_event: Callable[[Event], None],
    seconds: float = math.inf,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Run a stage to a state whose result is a StageResult; an outage is waited for.

    The state is called Cached when DVC had the outputs already, and TimeLimit when the stage was
    ended after so many `seconds`. Its process gets the variables `env`, too.
    """
    logger = get_run_logger()
    progress = StageProgress(name)
    deadline = time.monotonic() + seconds
    variables = environment(repo, workspace) | dict(env or {})

    def watch(event: Event) -> None:
        progress.on_event(event)
        on_event(event)

    def run() -> StageResult:
        left = deadline - time.monotonic()
        return run_stage(name, workspace, variables, watch, logger.info, left)

    try:
        result = patiently(run)
    except GanpipeError as problem:
        # a returned state, because an exception would print a traceback nobody needs
        return failed(problem)
    progress.close()
    if result.cached:
        if (context := TaskRunContext.get()) is not None:
            # the graph shows names of tasks, and not those of their states
            context.task_run.name = f"{name} (cached)"
        return Completed(name="Cached", message="nothing changed since an earlier run", data=result)
    return Completed(message=f"{result.seconds:.1f} s", data=result)


def failed(problem: GanpipeError) -> State[Any]:
    """A failure that the user can mend; its `result()` raises the problem again."""
    _show_problems_plainly()
    name = "TimeLimit" if isinstance(problem, TimeLimit) else "Failed"
    return Failed(name=name, message=str(problem), data=problem)


class _PlainProblem(logging.Filter):
    """The message alone where Prefect logs a traceback of a problem that the user can mend.

    A task logs the traceback of no exception, which prints as `NoneType: None`; a flow run by a
    worker logs that of the problem, as an "unexpected exception".
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info is None:
            return True
        problem = record.exc_info[1]
        if isinstance(problem, GanpipeError):
            record.msg, record.args, record.exc_info = str(problem), (), None
        return problem is not None


def _show_problems_plainly() -> None:
    for name in ("prefect.task_runs", "prefect.flow_runs", "prefect.engine"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, _PlainProblem) for each in logger.filters):
            logger.addFilter(_PlainProblem())
