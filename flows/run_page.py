"""The page of a run in Prefect: where it stands and what it makes by now, its data, its report.

Each artifact exists once for a flow run and changes in place, also when the run is tried again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.artifacts import MAX_PICTURE_CHARACTERS, MarkdownInPlace, inline_picture
from flows.beginning import Run
from ganpipe.data.report import PAGE, PICTURE, SUMMARY
from ganpipe.events import SPEED
from ganpipe.training.history import Best, best

SECONDS_BETWEEN_GRIDS = 5.0
ROOM_FOR_WORDS = 4_000  # of the characters that Prefect's database should take
GRID_CHARACTERS = MAX_PICTURE_CHARACTERS - ROOM_FOR_WORDS


@dataclass(frozen=True)
class Training:
    """What can be seen of a training from beside it: the folder in which it keeps its state."""

    folder: Path

    def grid(self, images: int | None = None) -> Path | None:
        """The grid after so many images, or the newest one."""
        grids = sorted((self.folder / "grids").glob("grid-*.png"))
        if images is not None:
            grids = [each for each in grids if _images(each) == images]
        return grids[-1] if grids else None

    def best(self) -> Best | None:
        """The best snapshot so far."""
        path = self.folder / "history.jsonl"
        if not path.is_file():
            return None
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        return best([json.loads(line) for line in lines if line.endswith("\n")])

    def state(self) -> int | None:
        """Images shown at the newest state that was saved."""
        return max(map(_images, (self.folder / "states").glob("state-*.json")), default=None)

    @property
    def speed(self) -> Path:
        return self.folder / SPEED


def _images(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


class RunPage:
    """The artifact `run`: links, a row for each stage, and the newest grid of samples."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.training: Training | None = None
        self.stage = ""  # the one under way
        self._rows: dict[str, str] = {}
        self._version = ""
        self._grid: Path | None = None
        self._shown = 0.0
        self._artifact = MarkdownInPlace("run")

    def tell(self, stage: str, told: str) -> None:
        """Say of a stage that it runs, or how it ended."""
        self.stage, self._rows[stage] = stage, told
        self._show()

    def tell_version(self, link: str) -> None:
        """Link the model version, as soon as there is one."""
        self._version = link
        self._show()

    def on_event(self, event: dict[str, Any]) -> None:
        """Follow a training: another grid takes the place of the last."""
        if event["event"] == "history":
            self.training = Training((self.run.workspace / event["path"]).parent)
        elif event["event"] != "progress" or self.training is None:
            return
        if self.training.grid() != self._grid and self._waited():
            self._show()

    def ended(self, stage: str) -> None:
        """What a finished training leaves behind, of a cached one too."""
        if stage == "train" and self.training is None:
            self.training = Training(self.run.workspace / "model")

    def _waited(self) -> bool:
        return time.monotonic() - self._shown >= SECONDS_BETWEEN_GRIDS

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._grid = self.training.grid() if self.training else None
        self._artifact.show(self.markdown(), f"{self.stage}: {self._rows[self.stage]}")

    def markdown(self) -> str:
        """Everything, as it stands."""
        rows = [("run", ""), ("---", "---"), *self._rows.items()]
        rows += [("model version", self._version)] * bool(self._version)
        rows += [("MLflow run", self.run.link()), ("commit", self.run.pin.commit)]
        table = "\n".join(f"| {left} | {right} |" for left, right in rows)
        return f"# Run {self.run.workspace.name}\n\n{table}\n{grid(self.training, self._grid)}"


def grid(training: Training | None, path: Path | None) -> str:
    """A grid of a training in Markdown, with what is known of it; empty without one."""
    if training is None or path is None:
        return ""
    try:
        picture = inline_picture(path, GRID_CHARACTERS)
    except FileNotFoundError:  # a run that begins anew removes the grids of the last
        return ""
    shown = f"Samples after {_images(path) / 1000:g} kimg"
    if (known := training.best()) is not None:
        which = "this is" if known.images == _images(path) else f"at {known.images / 1000:g} kimg"
        shown += f"; the best snapshot so far: {which}, quick FID {known.fid:.4g}"
    return f"\n![samples]({picture})\n\n{shown}.\n"


def show_data(run: Run) -> None:
    """Show what is learnt from, before hours are spent on it."""
    if (run.workspace / "data" / "report").is_dir():  # else a pipeline of the user's own
        text = data_markdown(run.workspace, run.mlflow_run)
        MarkdownInPlace("data").show(text, "the images that this run learns from")


def data_markdown(workspace: Path, mlflow_run: str) -> str:
    """What a run learns from: the summary of its data, with the picture in it."""
    folder = workspace / "data" / "report"
    summary = (folder / SUMMARY).read_text(encoding="utf-8")
    picture = inline_picture(folder / PICTURE)
    return (
        f"{summary.replace(f'({PICTURE})', f'({picture})', 1)}\n"
        f"Of this run: `{folder / PAGE}`; once it has ended, also `data/{PAGE}` among the "
        f"artifacts of MLflow run {mlflow_run}.\n"
    )


def report_markdown(workspace: Path, title: str, facts: dict[str, str], told: str) -> str:
    """The report of a finished run: `facts`, its samples, and what the evaluation told."""
    picture = inline_picture(workspace / "report" / "samples.png")
    rows = [("run", ""), ("---", "---")]
    rows += [(name, value.replace("|", "\\|")) for name, value in facts.items()]
    _, _, rest = told.partition("\n")  # its own title
    return "\n".join(
        [
            f"# {title}",
            "",
            *(f"| {left} | {right} |" for left, right in rows),
            "",
            f"![samples]({picture})",
            rest,
        ]
    )
