"""A flow run that fails, is tried again and goes on, with a page that tells the story meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from flows.cost import SPENT
from flows.diagnosis import tell_recovered
from flows.limits import limit_name
from flows.prefect_server import shared_server
from flows.train import train
from ganpipe import params, tracking
from ganpipe.files import read_json
from ganpipe.params import Params
from tests.integration.conftest import Checkout

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Stages in miniature, which do what the file `mode` says.
STAGE = """
import json, os, signal, sys, time
from pathlib import Path
from PIL import Image

state, name = Path(os.environ["GANPIPE_STATE"]), sys.argv[1]
mode, scratch = (state / "mode").read_text(), state / "scratch" / "train-1"

def tell(event, **values):
    print("::ganpipe " + json.dumps({"stage": name, "event": event, **values}), flush=True)

def save(*_):
    (scratch / "states" / "state-000000030000.json").touch()
    sys.exit(143)

def snapshot(kimg, fid):
    Image.new("L", (64, 64), kimg).save(scratch / "grids" / f"grid-{kimg * 1000:012d}.png")
    with (scratch / "history.jsonl").open("a") as file:
        file.write(json.dumps({"images": kimg * 1000, "kimg": kimg, "fid_quick_a": fid}) + "\\n")
    for _ in range(6):
        tell("progress", done=kimg, total=40, unit="kimg", rate="")
        time.sleep(1)

tell("start")
with (state / "calls").open("a") as file:
    file.write(f"{name}\\n")
if name == "train":
    for folder in ("grids", "states"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    tell("history", path=str(scratch / "history.jsonl"))
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "hang":
        time.sleep(600)
    if mode == "endless":
        signal.signal(signal.SIGTERM, save)
        for kimg, fid in ((10, 30.0), (20, 12.5), (30, 14.0)):
            snapshot(kimg, fid)
        time.sleep(600)
    assert list((scratch / "states").iterdir()), "it was to go on from its state"
    Path("model/grids").mkdir(parents=True)
    Path("model/history.jsonl").write_bytes((scratch / "history.jsonl").read_bytes())
elif name == "evaluate":
    if (state / "calls").read_text().count(name) == 1:
        tell("error", message="the weights cannot be fetched", causes=["OSError", "ReadTimeout"])
    else:
        tell("error", message="evaluate.samples=64 are too few", causes=["GanpipeError"])
    sys.exit(2)
else:
    Path("data").mkdir(exist_ok=True)
    Path(name).write_text("done")
"""
NAMES = ("start", "ingest", "preprocess", "reference", "train", "evaluate")
OUTPUTS = {"train": "model", "evaluate": "report"}
SECONDS = 30  # what a run may take


@pytest.fixture
def checkout(tmp_path: Path, repository_root: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout whose stages do little; the current folder."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    made = Checkout.of(repository_root, tmp_path / "check out", [f"compute.hours={SECONDS / 3600}"])
    stages = "".join(
        f"  {name}: {{cmd: python stage.py {name}, outs: [{OUTPUTS.get(name, name)}]}}\n"
        for name in NAMES
    )
    (made.folder / "dvc.yaml").write_text(f"stages:\n{stages}")
    (made.folder / "stage.py").write_text(STAGE)
    made.commit("stages in miniature")
    monkeypatch.chdir(made.folder)
    monkeypatch.setenv("GANPIPE_STATE", str(made.folder / ".ganpipe"))
    (made.folder / ".ganpipe").mkdir()
    return made


@pytest.fixture
def client(checkout: Checkout) -> Iterator[SyncPrefectClient]:
    """Of a Prefect server that has this machine's slot, as after `ganpipe deploy`."""
    with (
        shared_server(checkout.folder / ".ganpipe") as url,
        temporary_settings({PREFECT_API_URL: url}),
        get_client(sync_client=True) as made,
    ):
        limit = GlobalConcurrencyLimitCreate(name=limit_name("cpu"), limit=1)
        made.create_global_concurrency_limit(limit)
        yield made


def sections() -> dict[str, Any]:
    chosen = params.load()
    return {
        field.alias or name: getattr(chosen, name) for name, field in Params.model_fields.items()
    }


def attempt(client: SyncPrefectClient, run: UUID, mode: str) -> State[Any]:
    """Run the flow run to its end, again where it has ended before."""
    Path(".ganpipe/mode").write_text(mode)
    client.set_flow_run_state(run, Scheduled(), force=True)
    found = client.read_flow_run(run)
    ended: Any = run_flow(train, flow_run=found, parameters=sections(), return_type="state")
    assert isinstance(ended, State)
    return ended


def shown(client: SyncPrefectClient, key: str) -> tuple[UUID, str]:
    """The one artifact of a key, with its data; its collection shows the same."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    (found,) = client.read_artifacts(artifact_filter=wanted)
    (latest,) = [each for each in client.read_latest_artifacts() if each.key == key]
    assert (latest.latest_id, latest.data) == (found.id, found.data)
    return found.id, str(found.data)


def cancel(calls: Path) -> None:
    """End the flow as a cancellation does, when its second training has run for some seconds."""
    while calls.read_text().split().count("train") < 2:
        time.sleep(0.2)
    time.sleep(3)
    os.kill(os.getpid(), signal.SIGINT)


def watch(url: str, seen: set[str], stop: threading.Event) -> None:
    """Look at the page as a browser would."""
    wanted = {"artifacts": {"key": {"any_": ["run"]}}}
    while not stop.wait(0.5):
        (found,) = httpx.post(f"{url}/artifacts/filter", json=wanted, trust_env=False).json()
        seen.add(found["data"])


def test_a_run_that_died_ran_out_of_time_and_failed_is_one_run_with_one_page(
    checkout: Checkout, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment")
    run = client.create_flow_run(train, parameters=sections()).id
    state = checkout.folder / ".ganpipe"

    ended = attempt(client, run, "die")
    assert (ended.name, ended.type.value) == ("Failed", "FAILED")
    assert "stage train ended with code" in (ended.message or "")
    page, text = shown(client, "run")
    assert "| reference |" in text
    assert "| train | not finished |" in text
    diagnosis, text = shown(client, "diagnosis")
    assert "# The run failed in the stage train" in text
    assert "something killed the process" in text
    assert f"`prefect flow-run retry {run}`" in text

    (workspace,) = (state / "workspaces").iterdir()
    spent = read_json(workspace / SPENT)["cpu"]
    threading.Thread(target=cancel, args=(state / "calls",)).start()
    with pytest.raises(KeyboardInterrupt):
        attempt(client, run, "hang")
    assert read_json(workspace / SPENT)["cpu"] > spent + 3, (
        "a cancelled attempt took its device too"
    )

    # what is edited meanwhile is another run's
    (checkout.folder / "stage.py").write_text("raise SystemExit('another code')")
    seen: set[str] = set()
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(str(client.api_url).rstrip("/"), seen, stop))
    watcher.start()
    began = time.monotonic()
    try:
        ended = attempt(client, run, "endless")
    finally:
        stop.set()
        watcher.join()
    assert (ended.name, ended.type.value) == ("TimeLimit", "FAILED")
    # the whole allowance again, and what came from the cache is not counted
    assert time.monotonic() - began > SECONDS
    assert (state / "scratch" / "train-1" / "states" / "state-000000030000.json").exists()
    for kimg in (10, 20, 30):
        assert any(f"Samples after {kimg} kimg" in each for each in seen)
    assert any("| ingest | from the cache |\n" in each for each in seen)
    assert shown(client, "run")[0] == page
    same, text = shown(client, "diagnosis")
    assert same == diagnosis
    assert "# The run's time was over in the stage train" in text
    assert "Samples after 20 kimg; the best snapshot so far: this is, quick FID 12.5" in text
    assert "from its state at 30 kimg" in text

    ended = attempt(client, run, "go on")
    assert ended.message == "evaluate.samples=64 are too few"
    assert shown(client, "run")[0] == page
    assert "evaluate.samples=64 are too few" in shown(client, "diagnosis")[1]
    calls = (state / "calls").read_text().split()
    assert calls == [*NAMES[:4], *["train"] * 4, "evaluate", "evaluate"]
    assert list((state / "workspaces").iterdir()) == [workspace]
    assert (workspace / "stage.py").read_text() == STAGE

    limit = client.read_global_concurrency_limit_by_name(limit_name("cpu"))
    assert limit.active_slots == 0
    records = tracking.connect(f"sqlite:///{state / 'mlflow' / 'mlflow.db'}")
    experiment = records.get_experiment_by_name(tracking.EXPERIMENT)
    assert experiment is not None
    attempts = records.search_runs([experiment.experiment_id])
    assert sorted(each.info.status for each in attempts) == [*["FAILED"] * 3, "KILLED"]
    assert {each.info.run_name for each in attempts} == {workspace.name}
    last = max(attempts, key=lambda each: each.info.start_time)
    points = records.get_metric_history(last.info.run_id, "fid_quick_a")
    assert [(point.step, point.value) for point in points] == [
        *((10000, 30.0), (20000, 12.5), (30000, 14.0))
    ]


def test_what_goes_wrong_before_the_first_stage_is_told_until_it_is_mended(
    checkout: Checkout, client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout.folder / "pictures").mkdir()
    chosen = params.override(params.load(), ["data.source=folder", "data.path=pictures"])
    params.write(chosen, checkout.folder / "params.yaml")
    run = client.create_flow_run(train, parameters=sections()).id
    ended = attempt(client, run, "go on")
    assert "holds no files" in (ended.message or "")
    text = shown(client, "diagnosis")[1]
    assert "# The run failed before its first stage" in text
    assert "holds no files" in text
    assert "nothing was done yet" in text
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(run))
    tell_recovered()
    assert "went on from there and came through" in shown(client, "diagnosis")[1]
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__ID", str(uuid4()))
    tell_recovered()  # of a run that never failed: nothing
    assert len(client.read_artifacts()) == 1
