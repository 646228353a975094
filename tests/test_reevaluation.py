"""A version is measured anew once for each protocol, and the gate then compares by it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
import yaml

from ganpipe import registry, tracking, workspace
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.params import Params
from ganpipe.reevaluation import Reevaluation, reevaluate
from ganpipe.registry import judge
from tests.flows.registered import METRIC, Repository

RULES = Params().registration.gate
OTHER = "evaluate.samples=700"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, repository_root: Path) -> Iterator[Repository]:
    """Version 1 is champion; version 2 was measured by another protocol, so it is not compared."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "GANPIPE_STATE", "GIT_DIR", "GIT_INDEX_FILE"):
            patch.delenv(name, raising=False)
        made = Repository(tmp_path_factory.mktemp("anew") / "a repository", repository_root)
        assert made.register(1, 20.0).alias == registry.CHAMPION
        refused = made.register(2, 10.0, OTHER)
        assert refused.alias == registry.CANDIDATE
        assert (
            "`ganpipe evaluate models:/ganpipe/1 --like models:/ganpipe/2`"
            in refused.decision.reason
        )
        yield made


def measure(
    repo: Repository, version: str, *assignments: str, like: str = "", again: bool = False
) -> Reevaluation:
    found = registry.find(repo.uri, version, "ganpipe")
    other = registry.find(repo.uri, like, "ganpipe") if like else None
    return reevaluate(repo.folder, repo.uri, found, list(assignments), like=other, again=again)


def runs(repo: Repository) -> list[str]:
    client = tracking.connect(repo.uri)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    return [run.info.run_name for run in found if run.info.run_name.startswith("evaluate")]


def test_the_champion_measured_like_the_candidate_can_be_compared_with_it(
    repo: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    done = measure(repo, "1", like="2")
    assert done.done
    assert done.evaluation.protocol["samples"] == 700
    assert done.evaluation.measures[0]["value"] == 20.0, "version 1's own generator"
    # the reference for these is in DVC's cache since version 2 was made
    assert [line for line in capfd.readouterr().out.splitlines() if "runs" in line] == [
        "evaluate runs"
    ]
    assert runs(repo) == ["evaluate ganpipe 1"]
    decision = judge(repo.uri, "ganpipe", "2", RULES, 0.0)
    assert decision.passed
    assert decision.results[0].numbers["champion"] == 20.0
    again = measure(repo, "1", like="2")
    assert (again.done, again.evaluation) == (False, done.evaluation)
    assert runs(repo) == ["evaluate ganpipe 1"]
    assert measure(repo, "1", like="2", again=True).done
    assert "reference runs" in capfd.readouterr().out, "nothing from the cache"
    assert not list((repo.state / "workspaces").glob("evaluate-*"))


def test_what_it_was_registered_with_is_not_measured_again(
    repo: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    before = runs(repo)
    known = measure(repo, "1")
    assert (known.done, known.evaluation.protocol["samples"]) == (False, 898)
    assert "runs" not in capfd.readouterr().out
    assert runs(repo) == before
    assert measure(repo, "1", "evaluate.samples=600").evaluation.protocol["samples"] == 600


def test_the_data_is_that_of_the_version_it_is_to_be_compared_with(repo: Repository) -> None:
    third = repo.register(3, 5.0, "data.min_side=9")
    theirs = registry.evaluation_of(repo.uri, registry.find(repo.uri, third.version, "ganpipe"))
    assert theirs is not None
    found = measure(repo, "2", like=third.version)
    assert found.done
    assert found.evaluation.protocol == theirs.protocol
    assert (
        found.evaluation.protocol["dataset_sha256"]
        != (measure(repo, "2", "evaluate.samples=898").evaluation.protocol["dataset_sha256"])
    )


def test_data_that_is_nowhere_is_named_before_anything_runs(
    repo: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    cache, away = repo.state / "cache", repo.state / "away"
    cache.rename(away)
    try:
        told = "data/train and data/test are neither in DVC's cache nor to be had"
        with pytest.raises(GanpipeError, match=told):
            measure(repo, "1", "evaluate.samples=50")
    finally:
        shutil.rmtree(cache, ignore_errors=True)
        away.rename(cache)
    assert "runs" not in capfd.readouterr().out
    assert not list((repo.state / "workspaces").glob("evaluate-*"))


def test_the_data_comes_from_the_remote_where_the_cache_is_empty(
    repo: Repository, tmp_path: Path
) -> None:
    dvc = [sys.executable, "-m", "dvc"]
    env = workspace.environment(repo.folder)
    local = [*dvc, "remote", "add", "--local", "--default", "store", str(tmp_path / "store")]
    subprocess.run(local, cwd=repo.folder, env=env, check=True)
    made = repo.state / "workspaces" / "ganpipe-1"
    workspace.configure_dvc(repo.folder, made)  # the run is older than the remote
    subprocess.run(
        [*dvc, "push", "--quiet", "data/train", "data/test"], cwd=made, env=env, check=True
    )
    cache, away = repo.state / "cache", repo.state / "away"
    cache.rename(away)
    try:
        assert measure(repo, "1", "evaluate.samples=60").done
    finally:
        shutil.rmtree(cache)
        away.rename(cache)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["train.kimg=3"], "--set train.kimg=3: only evaluate.* decides how"),
        (["evaluate.sample=3"], "evaluate.sample is not a parameter: did you mean samples?"),
        (["evaluate.samples=-1"], "evaluate.samples=-1 is not allowed"),
    ],
)
def test_a_bad_parameter_is_named(repo: Repository, assignments: list[str], message: str) -> None:
    with pytest.raises(GanpipeError) as caught:
        measure(repo, "1", *assignments)
    assert message in str(caught.value)


def test_a_version_without_lineage_is_named(repo: Repository) -> None:
    client = tracking.connect(repo.uri)
    client.create_registered_model("by hand")
    client.create_model_version("by hand", source="s3://nowhere/model")
    found = registry.find(repo.uri, "1", "by hand")
    with pytest.raises(GanpipeError, match="model by hand version 1 has no lineage"):
        reevaluate(repo.folder, repo.uri, found, [])


def test_a_stage_that_fails_is_named_and_tags_nothing(
    repo: Repository, capfd: pytest.CaptureFixture[str]
) -> None:
    script = repo.folder / "make.py"
    sound = script.read_text()
    script.write_text(sound.replace("def reference():", "def reference():\n    sys.exit('no GPU')"))
    try:
        with pytest.raises(GanpipeError, match="the stage reference failed"):
            measure(repo, "1", "evaluate.samples=70")
    finally:
        script.write_text(sound)
    assert "no GPU" in capfd.readouterr().err
    before = dict(tracking.connect(repo.uri).get_model_version("ganpipe", "1").tags)
    assert measure(repo, "1", "evaluate.samples=70").done, "a later attempt is as if none had been"
    after = tracking.connect(repo.uri).get_model_version("ganpipe", "1").tags
    assert len(after) == len(before) + 1


def test_a_version_whose_report_is_damaged_is_measured_again(repo: Repository) -> None:
    number = repo.register(4, 8.0).version
    version = registry.find(repo.uri, number, "ganpipe")
    sound = registry.evaluation_of(repo.uri, version)
    assert sound is not None
    kept = Path(url2pathname(urlsplit(version.source).path))
    (kept / "lineage" / "report" / "evaluation.json").write_text("{")
    with pytest.raises(GanpipeError, match=f"`ganpipe evaluate models:/ganpipe/{number}`"):
        registry.evaluation_of(repo.uri, version)
    assert "is damaged" in judge(repo.uri, "ganpipe", number, RULES, 0.0).reason
    done = measure(repo, number)
    assert done.done
    assert (done.evaluation.protocol, done.evaluation.measures) == (sound.protocol, sound.measures)
    for protocol in (None, sound.protocol):
        found = registry.find(repo.uri, number, "ganpipe")
        assert registry.evaluation_of(repo.uri, found, protocol) == done.evaluation
    assert "damaged" not in judge(repo.uri, "ganpipe", number, RULES, 0.0).reason
    assert not measure(repo, number).done


def test_a_killed_command_leaves_no_stage_and_the_next_one_goes_on(repo: Repository) -> None:
    script = repo.folder / "make.py"
    sound = script.read_text()
    script.write_text(
        sound.replace(
            "def evaluate():",
            "def evaluate():\n    import time; print('hangs', flush=True); time.sleep(300)",
        )
    )
    arguments = ["evaluate", "1", "--set", "evaluate.samples=80"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ganpipe", *arguments],
        cwd=repo.folder,
        env=workspace.environment(repo.folder),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        while "hangs" not in (line := process.stdout.readline()):
            assert line, "it ended before it hung"
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
        script.write_text(sound)
    done = measure(repo, "1", "evaluate.samples=80")
    assert done.done
    assert done.evaluation.metric == METRIC


def test_the_command_says_where_the_report_is(repo: Repository) -> None:
    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", "ganpipe", "evaluate", *arguments]
        env = workspace.environment(repo.folder)
        done = subprocess.run(command, cwd=repo.folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = call("models:/ganpipe/1", "--set", "evaluate.samples=90")
    assert f"ganpipe version 1: {METRIC} = 20.00, report in " in said
    assert "--again" not in said
    assert "--again does it once more" in call("1", "--set", "evaluate.samples=90")


def test_parameters_that_are_unknown_today_do_not_matter_outside_what_is_measured(
    repo: Repository,
) -> None:
    """A version that was registered by an older ganpipe, with other keys in `register`."""
    client = tracking.connect(repo.uri)
    source = urlsplit(client.get_model_version("ganpipe", "2").source).path
    kept = Path(url2pathname(source)) / "lineage" / "params.yaml"
    sound = kept.read_text()
    values = yaml.safe_load(sound)
    values["register"] = {"promote": "auto"}
    kept.write_text(yaml.safe_dump(values))
    tags = client.get_model_version("ganpipe", "2").tags
    before = tags["ganpipe.params_sha256"]
    client.set_model_version_tag("ganpipe", "2", "ganpipe.params_sha256", sha256(kept))
    try:
        assert measure(repo, "2", "evaluate.samples=40").done
    finally:
        kept.write_text(sound)
        client.set_model_version_tag("ganpipe", "2", "ganpipe.params_sha256", before)
