"""What a run shows of itself while it goes on, and what it leaves when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.artifacts import MAX_PICTURE_CHARACTERS
from flows.beginning import Run
from flows.diagnosis import diagnosis
from flows.retries import StageError
from flows.run_page import RunPage, Training, data_markdown, grid, report_markdown
from flows.stage import TimeLimit
from ganpipe.errors import GanpipeError
from ganpipe.params import Params
from ganpipe.workspace import Pin

DEPLOYED = {
    "PREFECT__RUNTIME__DEPLOYMENT__ID": "a deployment",
    "PREFECT__RUNTIME__FLOW_RUN__ID": "run-7",
}


def run_in(workspace: Path, uri: str = "http://mlflow:5000/") -> Run:
    pin = Pin("c0ffee" * 6, "c0ffee" * 6, dirty=False, left_out=[])
    return Run(workspace, workspace, Params(), pin, uri, "abc", "1")


@pytest.fixture
def training(tmp_path: Path) -> Training:
    """Grids of 10, 20 and 30 kimg, of which the second is the best; a state at 30."""
    folder = tmp_path / "scratch"
    (folder / "grids").mkdir(parents=True)
    (folder / "states").mkdir()
    lines = []
    for images, fid in ((10_000, 30.0), (20_000, 12.5), (30_000, 14.0)):
        noise = np.random.default_rng(images).integers(0, 256, (600, 600, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "grids" / f"grid-{images:012d}.png")
        (folder / "states" / f"state-{images:012d}.json").touch()
        lines.append(json.dumps({"images": images, "kimg": images / 1000, "fid_quick_a": fid}))
    (folder / "history.jsonl").write_text("\n".join([*lines, '{"torn": ']), encoding="utf-8")
    return Training(folder)


def test_the_newest_grid_is_shown_with_stages_and_links(tmp_path: Path, training: Training) -> None:
    page = RunPage(run_in(tmp_path))
    page.training = training
    page._rows = {"ingest": "from the cache", "train": "runs"}
    page._grid = training.grid()
    text = page.markdown()
    assert "| ingest | from the cache |\n| train | runs |" in text
    assert "(http://mlflow:5000/#/experiments/1/runs/abc?workflowType=machine_learning)" in text
    assert "Samples after 30 kimg; the best snapshot so far: at 20 kimg, quick FID 12.5." in text
    assert text.count("](data:image/") == 1
    assert len(text) <= MAX_PICTURE_CHARACTERS
    assert "models/a%20b/versions/3" in page.run.version_link("a b", "3")


def test_a_grid_that_a_new_run_took_away_is_left_out(training: Training) -> None:
    newest = training.grid()
    assert newest is not None
    newest.unlink()
    assert grid(training, newest) == ""
    assert training.grid() == training.folder / "grids" / "grid-000000020000.png"


def test_a_failed_training_leaves_its_diagnosis_its_last_grid_and_the_way_on(
    tmp_path: Path, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in DEPLOYED.items():
        monkeypatch.setenv(name, value)
    told = (
        "training diverged: r1=nan is not finite (last good state: 20 kimg). Try a lower train.lr"
    )
    text = diagnosis(StageError(told, []), run_in(tmp_path), "train", training)
    assert text.startswith("# The run failed in the stage train\n")
    assert told in text
    assert "Mend what the message names" in text
    assert "`prefect flow-run retry run-7`" in text
    assert "from its state at 30 kimg, code of commit c0ffeec0ff" in text
    assert "Samples after 30 kimg" in text
    assert len(text) <= MAX_PICTURE_CHARACTERS


def test_a_time_limit_shows_the_best_snapshot(tmp_path: Path, training: Training) -> None:
    text = diagnosis(TimeLimit.of("train"), run_in(tmp_path), "train", training)
    assert text.startswith("# The run's time was over in the stage train\n")
    assert "Samples after 20 kimg; the best snapshot so far: this is, quick FID 12.5" in text
    assert "from its state at 30 kimg" in text


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (GanpipeError("stage train ended with code 255; killed by SIGKILL"), "ran out of memory"),
        (GanpipeError("torch.OutOfMemoryError: CUDA out of memory"), "a lower `train.batch`"),
        (StageError("x cannot be reached", ["ConnectTimeout"]), "Somebody did not answer"),
        (GanpipeError("[Errno 28] No space left on device"), "`ganpipe gc`"),
        (KeyError("lr"), "a defect of ganpipe"),
    ],
)
def test_every_end_says_what_to_do(tmp_path: Path, problem: Exception, told: str) -> None:
    text = diagnosis(problem, run_in(tmp_path), "evaluate", None)
    assert told in text
    assert "Then start the same run again: it goes on where it was" in text


def test_a_message_is_shown_and_never_obeyed() -> None:
    text = diagnosis(GanpipeError("a ```\n# name"), None, "", None)
    assert "````text\na ```\n# name\n````" in text
    assert "before its first stage" in text


def test_the_report_shows_facts_picture_and_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "report" / "samples.png")
    told = "# A title of its own\n\n**`fid_lite0_10k` 23.12**, floor 1.7\n"
    text = report_markdown(tmp_path, "Run 1", {"commit": "a|b"}, told)
    assert text.startswith("# Run 1\n")
    assert "A title of its own" not in text
    assert "**`fid_lite0_10k` 23.12**, floor 1.7" in text
    assert "a\\|b" in text
    assert "![samples](data:image/png;base64," in text


def test_the_data_are_shown_with_their_picture_and_where_their_page_is(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "report"
    folder.mkdir(parents=True)
    # the picture goes where the summary has it, not into what names of files may pretend
    summary = "# Data\n\n![grid](data.png)\n\n- `![mine](data.png)`: truncated\n"
    (folder / "summary.md").write_text(summary, encoding="utf-8")
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "data.png")
    text = data_markdown(tmp_path, "abc123")
    assert text.count("data:image/webp;base64,") == 1
    assert text.index("![grid](data:image/") < text.index("`![mine](data.png)`: truncated")
    assert f"`{folder / 'data.html'}`" in text
    assert "`data/data.html` among the artifacts of MLflow run abc123" in text
    assert len(text) < 151_000
