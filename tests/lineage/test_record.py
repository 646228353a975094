"""Everything known of a version, and the tree that shows it."""

from __future__ import annotations

import io
import json
from typing import Any

from rich.console import Console

from ganpipe import tracking
from ganpipe.files import sha256
from ganpipe.lineage.record import record
from ganpipe.lineage.tree import tree
from tests.lineage.tiny import Project, away, problem


def printed(known: dict[str, Any]) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(tree(known))
    return out.getvalue()


def test_a_version_tells_the_chain_from_pixels_to_alias(project: Project) -> None:
    client = tracking.connect(project.uri)
    client.set_registered_model_alias("ganpipe", "champion", "2")
    known = record(project.uri, project.version(2))
    assert json.loads(json.dumps(known)) == known
    assert known["aliases"] == ["champion"]
    assert known["source"]["count"] == known["manifest"]["count"] == 3
    assert known["manifest"]["class_counts"] == {"cat": 1, "dog": 2}
    lock = project.lock(2)
    raw = project.objects(project.remote)[project.entries(lock["data/raw"])["manifest.parquet"]]
    assert known["manifest"]["sha256"] == sha256(raw)
    assert known["outputs"] == lock
    assert known["changed"]["train.seed"] == 1
    assert "train.batch" not in known["changed"]
    tags = project.version(2).tags
    assert known["code"]["commit"] == tags["ganpipe.git_commit"] != known["code"]["base"]
    assert "+torch==2.10" in known["code"]["patch"]
    assert known["requirements"] == {"numpy": "2.0", "torch": "2.10"}
    assert {"python", "torch", "numpy", "cpu", "cores", "threads"} <= known["environment"].keys()
    assert known["run"]["status"] == "FINISHED"
    assert known["measures"][0]["name"] == "fid_tiny_9"
    text = printed(known)
    order = [
        "ganpipe version 2", "source", "manifest", "data set", "parameters", "code", "environment",
        "start", "training run", "model", "measures", "decisions", "aliases",
    ]  # fmt: skip
    places = [text.index(f"{title}  " if title != order[0] else title) for title in order]
    assert places == sorted(places)
    for part in (
        *("cat 1, dog 2", "train.seed=1", tags["ganpipe.git_commit"], "dvc.yaml", "scratch"),
        *("fid_tiny_9 4 (3.9 to 4.1), floor 1", "champion"),
    ):
        assert part in text, part


def test_a_version_needs_no_run_in_mlflow(project: Project) -> None:
    version = project.version(1)
    before = record(project.uri, version)
    version._run_id = "0" * 32
    known = record(project.uri, version)
    assert known["run"] is None
    assert {**known, "run": None} == {**before, "run": None}
    assert "deleted from MLflow" in printed(known)
    tracking.connect(project.uri).delete_run(before["run"]["id"])
    assert record(project.uri, project.version(1))["run"]["deleted"]


def test_names_that_somebody_else_chose_are_shown_and_never_obeyed(project: Project) -> None:
    known = record(project.uri, project.version(1))
    known["manifest"]["class_counts"] = {"[red]x[/red]\x1b[2J\n": 1}
    known["model"] = "[bold]ganpipe\x1b[2J"
    known["environment"]["python"] = "[red]3[/red]\x1b[2J"
    known["aliases"] = ["champion\x1b[2J\r"]
    known["code"]["commit"] = "abc\x1b]0;title\x07"
    text = printed(known)
    assert "[red]x[/red]" in text
    assert "[red]3[/red]" in text
    assert not {"\x1b", "\r", "\x07"} & set(text)
    assert "[bold]ganpipe\\x1b[2J version 1" in text


def test_a_version_without_lineage_says_so(project: Project) -> None:
    with away(project.kept(1) / "lineage" / "params.yaml"):
        told = problem(record, project.uri, project.version(1))
    assert "params.yaml at" in told
    assert "its sha256 is missing" in told
