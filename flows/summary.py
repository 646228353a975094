"""What a finished run tells: a Summary for its caller, the artifact `report` for its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flows import cost
from flows.artifacts import MarkdownInPlace
from flows.beginning import Run
from flows.comparison import PASSED, line
from flows.run_page import RunPage, report_markdown
from flows.stage import StageResult
from ganpipe import registry
from ganpipe.data.words import table_cell
from ganpipe.evaluation.results import read_results
from ganpipe.files import read_json


@dataclass(frozen=True)
class Summary:
    """What a finished run tells its user."""

    run_id: str
    workspace: Path
    data: str
    metric: str
    value: float
    floor: float
    samples: Path
    model: str
    version: str
    alias: str
    decision: str
    cached: list[str]
    seconds: float

    @property
    def headline(self) -> str:
        """The number and what became of it, in one line."""
        return (
            f"{self.metric} {self.value:.4g} (real against real {self.floor:.4g}); "
            f"{self.model} version {self.version} is {self.alias}"
        )

    @property
    def adopt_command(self) -> str:
        return f"ganpipe adopt {self.run_id}"


def summarise(
    run: Run, registration: registry.Registration, results: list[StageResult], seconds: float
) -> Summary:
    metrics = read_results(run.workspace / "report")
    metric = metrics["protocol"]["metric"]
    return Summary(
        run_id=run.workspace.name,
        workspace=run.workspace,
        data=_data(run.workspace),
        metric=metric,
        value=float(metrics[metric]),
        floor=float(metrics[f"floor_{metric}"]),
        samples=run.workspace / "report" / "samples.png",
        model=registration.model,
        version=registration.version,
        alias=registration.alias,
        decision=registration.decision.reason,
        cached=[result.name for result in results if result.cached],
        seconds=seconds,
    )


def _data(workspace: Path) -> str:
    """What was learnt from, in one line; empty for a pipeline of the user's own."""
    path = workspace / "data" / "raw" / "raw.json"
    if not path.is_file():
        return ""
    raw = read_json(path)
    aside = raw["files"] - raw["count"]
    classes = len(raw["classes"])
    told = f"{classes} classes" if classes else f"no classes: {raw['unlabelled_because']}"
    splits = raw["splits"]
    return f"{splits['train']} to train on, {splits['test']} to test, {aside} set aside; {told}"


def gate(registration: registry.Registration) -> str:
    """What was decided, each rule of the gate and what it found: a section of the report."""
    move = registration.move
    if move is None:
        return ""
    rows = [
        f"| {table_cell(each.rule)} | {PASSED[each.passed]} | {line(each.told)} |"
        for each in move.decision.results
    ]
    told = f"Version {move.version} {move.action} by {move.by}, {move.at[:19]}: {move.reason}"
    return "\n".join(["\n## Gate\n", told, "", "| rule | | |", "| --- | --- | --- |", *rows, ""])


def show_report(run: Run, page: RunPage, summary: Summary, told: str) -> None:
    """Show the summary on the run's page in Prefect: the version is registered without it."""
    MarkdownInPlace("report").show(_report_text(run, page, summary, told), summary.headline)


def _report_text(run: Run, page: RunPage, summary: Summary, told: str) -> str:
    speed = page.training.speed if page.training and "train" not in summary.cached else None
    facts = {
        "model version": f"{run.version_link(summary.model, summary.version)}, {summary.alias}",
        "gate": summary.decision,
        "data": summary.data,
        "started from": run.params.train.start,
        "commit": run.pin.commit,
        "from the cache": ", ".join(summary.cached) or "nothing",
        "time": f"{summary.seconds:.0f} s",
        **cost.facts(run.workspace, run.params, speed),
        "bring it into the checkout": f"`{summary.adopt_command}`",
        "MLflow run": run.link(),
    }
    return report_markdown(run.workspace, f"Run {summary.run_id}", facts, told)
