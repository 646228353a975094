"""The flow `generate`: images of a registered generator, made by a process of their own."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run as runtime
from prefect.states import Completed

from flows import processes
from flows.artifacts import StageProgress, inline_picture
from flows.diagnosis import failed_flow
from flows.retries import patiently
from flows.signature import typed
from flows.stage import follow
from ganpipe import events
from ganpipe.errors import GanpipeError
from ganpipe.generation import read_file
from ganpipe.params.generate import GenerateParams
from ganpipe.workspace import environment, repository

Event = dict[str, Any]
OPTIONS = {"destination": "out"}  # named otherwise on the command line


def run_name() -> str:
    """Like `generate 10000 of ganpipe 3`."""
    return name_of(dict(runtime.parameters.get("generate") or {}))


def name_of(asked: dict[str, Any]) -> str:
    """The name of a run, from what of the form differs from the defaults."""
    n = asked.get("n", GenerateParams().n)
    model = str(asked.get("model", GenerateParams().model))
    return f"generate {n} of {re.sub('[/@]', ' ', model.removeprefix('models:/'))}"


@flow(name="generate", flow_run_name=run_name)
@typed
def generate(generate: GenerateParams = GenerateParams()) -> Any:  # noqa: B008 - frozen
    """Write images of a trained generator to a folder or a bucket.

    A run that was cancelled or killed goes on where it was when the same request is made again.
    """
    began = time.monotonic()
    progress = StageProgress("generate")
    try:
        repo, log = repository(), get_run_logger().info
        written = patiently(lambda: run_command(generate, repo, progress.on_event, log))
    except GanpipeError as problem:
        return failed_flow(problem)
    progress.close()
    _show(written, time.monotonic() - began)
    return Completed(message=headline(written), data=written)


def run_command(
    params: GenerateParams,
    repo: Path,
    on_event: Callable[[Event], None],
    on_line: Callable[[str], None],
) -> Event:
    """`ganpipe generate` in the repository; every process of it is gone on return.

    Returns what it has written: generation.json and its `place`. Raises GanpipeError with the
    command's own message, or with its last lines when it ended without one.
    """
    told: dict[str, Event] = {}
    process = processes.start(
        [sys.executable, "-m", "ganpipe", "generate", *options(params)],
        cwd=repo,
        env={**environment(repo), events.VARIABLE: "1"},
    )

    def watch(event: Event) -> None:
        told[event["event"]] = event
        on_event(event)

    try:
        problem = follow(process, watch, on_line, "`ganpipe generate`", repo)
    finally:
        processes.stop(process)
    if problem is not None:
        raise problem
    if "written" not in told:
        raise GanpipeError(
            f"`ganpipe generate` ended in {repo} without a word of what it has written: the code "
            f"there may be another than this worker's; run it there by hand and look at "
            f"{params.destination or '.ganpipe/samples'}"
        )
    return told["written"]


def options(params: GenerateParams) -> list[str]:
    """The parameters as the command spells them."""
    given = []
    for name, value in params.model_dump(mode="json").items():
        option = f"--{OPTIONS.get(name, name).replace('_', '-')}"
        if isinstance(value, bool):
            given += [option] if value else []
        else:
            given.append(f"{option}={value}")
    return given


def headline(written: Event) -> str:
    """What was written, in one line."""
    return f"{written['count']:,} images of {_model(written)} in {written['place']}"


def _model(written: Event) -> str:
    return str(written["version"] or written["model"])


def _show(written: Event, seconds: float) -> None:
    """Show the first images on the run's page in Prefect: they are written without it."""
    try:
        create_markdown_artifact(
            markdown(written, seconds), key="generated", description=headline(written)
        )
    except (GanpipeError, httpx.HTTPError, PrefectHTTPStatusError) as error:
        get_run_logger().warning("Prefect does not show the images of this run: %s", error)


def markdown(written: Event, seconds: float) -> str:
    """The first images and what is known of all."""
    asked = written["request"]
    facts = {
        "generator": f"{_model(written)}, sha256 {written['generator_sha256']}",
        "images": f"{written['count']:,} as {asked['format']}, {written['bytes']:,} bytes",
        "seed": asked["seed"],
        "truncation": asked["truncation"],
        "of each class": ", ".join(f"{k} {v:,}" for k, v in written["class_counts"].items()),
        "replaced": ", ".join(f"{count:,} {why}" for why, count in written["dropped"].items()),
        "written to": f"`{written['place']}`",
        "time": f"{seconds:.0f} s",
    }
    with TemporaryDirectory(prefix="ganpipe-") as folder:
        path = Path(folder) / "grid.png"
        path.write_bytes(read_file(written["place"], "grid.png"))
        picture = inline_picture(path)
    rows = [(name, str(value).replace("|", "\\|")) for name, value in facts.items() if value != ""]
    table = [f"| {name} | {value} |" for name, value in [("", ""), ("---", "---"), *rows]]
    return "\n".join([f"# {headline(written)}", "", *table, "", f"![first images]({picture})", ""])
