"""Two versions side by side: what differs, in words and in pictures."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganpipe.files import sha256
from ganpipe.lineage import told
from ganpipe.lineage.difference import difference
from ganpipe.lineage.pictures import write_page
from tests.lineage.tiny import Project, away, problem


def compared(project: Project, one: int = 1, two: int = 2) -> dict[str, Any]:
    return difference(project.uri, project.version(one), project.version(two), project.repo)


def test_it_tells_what_changed_from_one_version_to_the_other(project: Project) -> None:
    found = compared(project)
    assert json.loads(json.dumps(found)) == found
    assert found["params"] == {"train.seed": [0, 1]}
    # one cat and one dog went in and out
    assert found["data"]["classes"] == {"cat": [2, 1, 0, 1], "dog": [1, 2, 1, 0]}
    assert (found["data"]["added"], found["data"]["removed"]) == (1, 1)
    assert "dvc.yaml" in found["code"]["stat"]
    assert found["requirements"] == {"torch": ["2.9", "2.10"]}
    (row,) = found["measures"]
    assert (row["one"], row["two"]) == ([5.0, 4.9, 5.1], [4.0, 3.9, 4.1])
    assert row["verdict"] == "better"
    text = "\n".join(told.lines(found))
    for part in ("train.seed: 0 -> 1", "cat: 2 -> 1 (+0, -1)", "torch: 2.9 -> 2.10", "better"):
        assert part in text


def test_a_version_does_not_differ_from_itself(project: Project) -> None:
    found = compared(project, 2, 2)
    lines = told.lines(found)
    same = ("parameters", "data", "code", "environment", "packages")
    assert [line for line in lines if line.endswith(": the same")] == [
        f"{each}: the same" for each in same
    ]
    assert found["measures"][0]["verdict"] == "same"


def test_without_the_manifests_it_falls_back_to_counts(project: Project) -> None:
    with away(project.cache), away(project.remote):
        found = compared(project)
    assert found["data"]["classes"] == {"cat": [2, 1, None, None], "dog": [1, 2, None, None]}
    assert "neither in the cache nor" in found["data"]["not_known"]
    assert "cat: 2 -> 1" in "\n".join(told.lines(found))


def test_numbers_of_different_protocols_are_not_compared(project: Project) -> None:
    path = project.kept(1) / "lineage" / "report" / "evaluation.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"samples": 9', '"samples": 8'), encoding="utf-8")
    try:
        found = compared(project)
    finally:
        path.write_text(text, encoding="utf-8")
    assert found["measures"] == []
    assert "different protocols (samples 8 v 9)" in found["not_compared"]


def test_the_page_holds_the_samples_of_both_and_asks_for_nothing(
    project: Project, tmp_path: Path
) -> None:
    one, two = project.version(1), project.version(2)
    found = compared(project)
    found["names"][0] = "<script>x</script>"
    out = tmp_path / "new" / "diff.html"
    page, picture = write_page(project.uri, one, two, project.repo, found, out)
    text = page.read_text(encoding="utf-8")
    HTMLParser().feed(text)
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    pixels = np.asarray(Image.open(picture))
    half = (pixels.shape[1] - 24) // 2
    left, right = pixels[:, :half], pixels[:, -half:]
    assert left.shape == right.shape
    assert (left != right).any(), "two generators"
    first = sha256(picture)
    write_page(project.uri, one, two, project.repo, found, out)
    assert sha256(picture) == first
    _, same = write_page(project.uri, one, one, project.repo, found, tmp_path / "same.html")
    pixels = np.asarray(Image.open(same))
    assert (pixels[:, :half] == pixels[:, -half:]).all(), "the same latents on both sides"


@pytest.mark.parametrize("name", ["diff.htm", "diff"])
def test_a_page_has_a_name_of_its_kind(project: Project, tmp_path: Path, name: str) -> None:
    one = project.version(1)
    said = problem(write_page, project.uri, one, one, project.repo, {}, tmp_path / name)
    assert "ends in .html" in said
