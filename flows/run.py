"""`ganpipe run`: the flow `train` in this process, and what it tells at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.server import embedded
from flows.tag import TAG
from ganpipe.params import Params
from ganpipe.programs import command
from ganpipe.stages import STAGES
from ganpipe.workspace import repository, state_folder

if TYPE_CHECKING:
    from flows.train import Summary


def run_pipeline(params: Params) -> Summary:
    """Run the whole pipeline and print its summary.

    Raises GanpipeError for what the user can mend; other failures keep their exception.
    """
    repo = repository()
    _refuse_early(params, repo)
    with embedded(state_folder(repo)):
        from prefect import tags  # it reads its environment on import

        from flows.train import train

        sections = {
            field.alias or name: getattr(params, name)
            for name, field in Params.model_fields.items()
        }
        with tags(TAG):
            ended: Any = train(**sections, return_state=True)
        summary: Summary = ended.result()
    sys.stdout.write(f"\n{describe(summary)}\n")
    return summary


def _refuse_early(params: Params, repo: Path) -> None:
    """Raise GanpipeError for what cannot work here, before a server is started for it."""
    from ganpipe.compute import resolve
    from ganpipe.data.sources import make_source

    resolve(params)
    os.environ["GANPIPE_STATE"] = str(state_folder(repo))  # where a source keeps what it downloads
    make_source(params.data.anchored(repo))


def describe(summary: Summary) -> str:
    """The summary as lines for a terminal."""
    ganpipe = command("ganpipe")
    trained = "nothing was trained: every stage came from the cache"
    if "train" not in summary.cached:
        trained = f"took {summary.seconds:.0f} s"
    elif len(summary.cached) < len(STAGES):
        trained = f"from the cache: {', '.join(summary.cached)}"
    page = summary.workspace / "data" / "report" / "data.html"
    images = [f"images    {summary.data}", f"          {page}"] if summary.data else []
    report = summary.samples.with_name("index.html")
    return "\n".join(
        [
            f"run       {summary.run_id}, {trained}",
            *images,
            f"measure   {summary.metric} = {summary.value:.2f}"
            f" (real against real {summary.floor:.2f}, lower is better)",
            f"samples   {summary.samples}",
            *([f"report    {report}"] if report.is_file() else []),
            f"model     {summary.model} version {summary.version}, {summary.alias}:"
            f" {summary.decision}",
            f"generate  {ganpipe} generate --model models:/{summary.model}@{summary.alias}",
            f"adopt     {ganpipe} adopt {summary.run_id}",
            "look      make ui",
        ]
    )
