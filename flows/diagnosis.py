"""What a run that ended before its time leaves on its page: what happened, and what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import State
from prefect.runtime import deployment
from prefect.runtime import flow_run as runtime

from flows.artifacts import MarkdownInPlace
from flows.retries import is_outage
from flows.stage import TimeLimit, failed
from ganpipe.errors import GanpipeError

if TYPE_CHECKING:
    from flows.beginning import Run
    from flows.run_page import Training

MOST_CHARACTERS = 3000  # of a message: what it cites may be of any length
ADVICE = {
    r"out of memory|MemoryError|SIGKILL|code (-9|137)\b": "The machine ran out of "
    "memory, or something killed the process: set a lower `train.batch`, `model.width` or "
    "`compute.processes`, or let fewer runs go at once.",
    r"No space left|ENOSPC|Disk quota": "A disk is full: `ganpipe gc` shows what can go.",
}


def show_diagnosis(
    problem: Exception, run: Run | None, stage: str | None, training: Training | None
) -> None:
    """Show the artifact `diagnosis` of the flow run. `stage`: the one under way, if it has any."""
    text = diagnosis(problem, run, stage, training)
    MarkdownInPlace("diagnosis").show(text, text.partition("\n")[0].removeprefix("# "))


def failed_flow(problem: GanpipeError) -> State[Any]:
    """The state of a flow run that failed, with the diagnosis of what no pipeline told of."""
    show_diagnosis(problem, None, None, None)
    return failed(problem)


def tell_recovered() -> None:
    """A later attempt of the flow run came through: its page must not say that it failed."""
    text = "# An earlier attempt failed\n\nThis run went on from there and came through."
    MarkdownInPlace("diagnosis").show(text, "an earlier attempt failed", make=False)


def diagnosis(
    problem: Exception, run: Run | None, stage: str | None, training: Training | None
) -> str:
    """In Markdown: what happened, what to do, and the last grid (of a time limit: the best)."""
    where = f"in the stage {stage}" if stage else "before its first stage"
    limited = isinstance(problem, TimeLimit)
    title = f"The run's time was over {where}" if limited else f"The run failed {where}"
    if stage is None:  # what comes of a later attempt is not told here
        title = f"Attempt {runtime.run_count} failed"
    steps = [*_advice(problem), _going_on(run, stage, training)]
    parts = [f"# {title}", _message(problem), "## What to do", "\n".join(f"- {s}" for s in steps)]
    if training is None:
        return "\n\n".join(parts) + "\n"
    from flows.run_page import grid  # costs seconds

    best = training.best() if limited else None
    picture = grid(training, training.grid(best.images if best else None))
    return "\n\n".join(parts) + f"\n{picture}"


def _message(problem: Exception) -> str:
    """The message as it stands: names in it are shown, never obeyed."""
    text = str(problem)
    if not isinstance(problem, GanpipeError):
        text = f"{type(problem).__name__}: {text}"
    if len(text) > MOST_CHARACTERS:
        text = f"{text[: MOST_CHARACTERS // 2]}\n...\n{text[-MOST_CHARACTERS // 2 :]}"
    fence = "`" * (3 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _advice(problem: Exception) -> list[str]:
    if isinstance(problem, TimeLimit):
        return [
            "A retry has as many hours again. Training needs no more: its state was saved. Another "
            "stage begins anew and needs a higher `compute.hours`, in a new run."
        ]
    found = [advice for pattern, advice in ADVICE.items() if re.search(pattern, str(problem))]
    if is_outage(problem):
        found.append("Somebody did not answer: retry when they do.")
    elif isinstance(problem, GanpipeError):
        found.append("Mend what the message names.")
    else:
        found.append("This is a defect of ganpipe: the log of this run has the traceback.")
    return found


def _going_on(run: Run | None, stage: str | None, training: Training | None) -> str:
    again = "Then start the same run again"
    if deployment.id:
        again = f"Then `Retry` on this page, or `prefect flow-run retry {runtime.id}`"
    if run is None:
        return f"{again}." if stage is None else f"{again}: nothing was done yet."
    state = training.state() if training else None
    kept = f", training from its state at {state / 1000:g} kimg" if state is not None else ""
    code = f", code of commit {run.pin.commit[:10]}" if deployment.id else ""
    return (
        f"{again}: it goes on where it was (finished stages from the cache{kept}{code}). Other "
        "parameters need a new run."
    )
