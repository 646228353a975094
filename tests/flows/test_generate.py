"""The flow `generate`: the command in a process of its own, resumable, and what it shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.generate import markdown, name_of, options, run_command
from ganpipe.errors import GanpipeError
from ganpipe.params.generate import GenerateParams, generate_params
from ganpipe.workspace import environment
from tests.generation.conftest import make_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model", ["cat", "dog"])


def asked(model: Path, out: Path, **values: Any) -> GenerateParams:
    return generate_params(model=str(model), destination=str(out), threads=1, **values)


def run(params: GenerateParams, repo: Path) -> tuple[dict[str, Any], list[str], list[str]]:
    events: list[str] = []
    lines: list[str] = []
    written = run_command(params, repo, lambda event: events.append(event["event"]), lines.append)
    return written, events, lines


def test_everything_that_the_form_asks_reaches_the_command(
    model: Path, tmp_path: Path, repository_root: Path
) -> None:
    values: dict[str, Any] = {
        "n": 40,
        "seed": 3,
        "classes": "{cat: 30, dog: 10}",
        "truncation": 0.7,
    }
    values |= {"format": "parquet", "filter": "near-duplicates", "near_distance": 1}
    run(asked(model, tmp_path / "out"), repository_root)
    params = asked(model, tmp_path / "out", **values, replace=True)
    assert len(options(params)) == len(GenerateParams.model_fields)
    written, events, lines = run(params, repository_root)
    assert events[-1] == "written"
    assert any(line.startswith("making images: 40 of 40") for line in lines)
    request = written["request"]
    assert {key: request[key] for key in values if key != "classes"} == {
        key: value for key, value in values.items() if key != "classes"
    }
    assert request["classes"] == [30, 10]
    assert request["threads"] == 1
    assert written["place"] == str(tmp_path / "out")


def test_a_problem_that_the_user_can_mend_is_told_without_more(
    model: Path, tmp_path: Path, repository_root: Path
) -> None:
    with pytest.raises(GanpipeError) as caught:
        run(asked(model, tmp_path / "out", classes="{bird: 64}"), repository_root)
    assert str(caught.value) == (
        "classes={bird: 64}: there is no class bird; this generator's classes are cat, dog"
    )


def test_a_command_that_ends_well_without_a_word_is_a_problem_of_the_checkout(
    model: Path, tmp_path: Path
) -> None:
    """As code of another day may do."""
    (tmp_path / "ganpipe").mkdir()
    (tmp_path / "ganpipe" / "__main__.py").touch()
    with pytest.raises(GanpipeError, match=f"ended in {tmp_path} without a word"):
        run(asked(model, tmp_path / "out"), tmp_path)


def of(out: Path) -> list[psutil.Process]:
    """Processes that write there."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if f"--out={out}" in (process.info["cmdline"] or []):
            found.append(process)
    return found


def wait_for(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_killed_flow_leaves_no_process_and_the_next_one_goes_on(
    model: Path, tmp_path: Path, repository_root: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    params = asked(model, out, n=16_384 * 3, format="shards")
    flow = (
        "import sys; from pathlib import Path; from flows.generate import run_command\n"
        "from ganpipe.params.generate import GenerateParams\n"
        "params = GenerateParams.model_validate_json(sys.argv[1])\n"
        "run_command(params, Path(sys.argv[2]), lambda event: None, print)\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", flow, params.model_dump_json(), str(repository_root)],
        env=environment(repository_root),
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for((tmp_path / ".out.unfinished" / ".unfinished" / "part-00000.json").exists)
        assert of(out)
    finally:
        os.kill(killed.pid, number)
        killed.wait()
    wait_for(lambda: not of(out))
    assert not out.exists()
    written, _, lines = run(params, repository_root)
    assert written["count"] == 16_384 * 3
    assert not any(line.startswith("making images: 0 of") for line in lines)


def test_what_was_made_is_shown_with_its_first_images(
    model: Path, tmp_path: Path, repository_root: Path
) -> None:
    written, _, _ = run(asked(model, tmp_path / "out", n=70), repository_root)
    text = markdown(written, 3.0)
    assert text.startswith(f"# 70 images of {model} in {tmp_path / 'out'}\n")
    assert f"| written to | `{tmp_path / 'out'}` |" in text
    assert "| of each class | cat " in text
    assert "![first images](data:image/png;base64," in text


@pytest.mark.slow
def test_a_run_ends_completed_with_its_name_and_its_artifacts(
    model: Path, tmp_path: Path, repository_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.testing.utilities import prefect_test_harness

    from flows.generate import generate

    monkeypatch.chdir(repository_root)
    with prefect_test_harness(server_startup_timeout=90):
        ended = generate(asked(model, tmp_path / "out", n=70), return_state=True)
        refused = generate(asked(model, tmp_path / "out", n=80), return_state=True)
        with get_client(sync_client=True) as client:
            runs = client.read_flow_runs()
            artifacts = client.read_artifacts()
    assert ended.is_completed()
    assert ended.message == f"70 images of {model} in {tmp_path / 'out'}"
    assert refused.is_failed()
    assert "n=70 there, 80 asked for" in str(refused.message)
    assert {run.name.split(" of ")[0] for run in runs} == {"generate 70", "generate 80"}
    (shown,) = [each for each in artifacts if each.key == "generated"]
    assert "![first images](data:image/png;base64," in str(shown.data)


def test_the_form_is_one_section_with_bounds_and_choices() -> None:
    from prefect.utilities.callables import parameter_schema

    from flows.generate import generate

    schema = parameter_schema(generate.fn)
    section = schema.definitions["GenerateParams"]["properties"]
    assert list(schema.properties) == ["generate"]
    assert section["n"]["minimum"] == 1
    assert section["format"]["enum"] == ["png", "shards", "parquet"]
    assert all(each["description"] for each in section.values())


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ({"n": 10000, "model": "models:/ganpipe/3"}, "generate 10000 of ganpipe 3"),
        ({"model": "models:/ganpipe@champion"}, "generate 64 of ganpipe champion"),
        ({}, "generate 64 of ganpipe champion"),
    ],
)
def test_a_run_is_named_after_what_it_makes(section: dict[str, Any], name: str) -> None:
    assert name_of(section) == name
