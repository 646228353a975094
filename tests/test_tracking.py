"""A run's records reach MLflow completely, once, and without hiding a server that is away."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganpipe import addresses, tracking
from ganpipe.errors import GanpipeError
from ganpipe.forwarding import HistoryForwarder, Lines
from ganpipe.params import DataParams, Params, write


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a state # folder")


@pytest.fixture
def uri(state: Path) -> str:
    return tracking.tracking_uri(state)


@pytest.fixture
def run(uri: str, state: Path) -> str:
    return tracking.start_run(uri, state, "train digits", Params(), {"git_commit": "abc"})


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """What a finished workspace holds, in small."""
    folder = tmp_path / "workspace"
    for name in ("report", "model/grids", "data/train", "data/test", "data/report"):
        (folder / name).mkdir(parents=True)
    write(Params(), folder / "params.yaml")
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    (folder / "report/samples.png").write_bytes(b"png")
    (folder / "model/grids/grid-000020.png").write_bytes(b"png")
    (folder / "model/generator.json").write_text('{"images": 20000}')
    protocol = {"metric": "fid_lite0_1k", "seed": 1}
    metrics = {"fid_lite0_1k": 23.5, "floor_fid_lite0_1k": 1.5, "protocol": protocol}
    metrics["images"] = 20000
    (folder / "report/metrics.json").write_text(json.dumps(metrics))
    (folder / "data/report/data.html").write_text("<!DOCTYPE html>\n<p>data</p>\n")
    (folder / "data/source.json").write_text('{"source": "digits", "count": 12, "digest": "ab"}')
    for side, labels in {"train": [0, 1, 1, 1, 1, 0, 1], "test": [1, 0, 1]}.items():
        made = {"count": len(labels), "height": 4, "width": 8, "channels": 1}
        made |= {"classes": ["cat", "dog"], "sha256": f"{side}56789" * 6}
        (folder / "data" / side / "dataset.json").write_text(json.dumps(made))
        images = np.zeros((len(labels), 4, 8, 1), np.uint8)
        np.save(folder / "data" / side / "images-00000.npy", images)
        np.save(folder / "data" / side / "labels.npy", np.array(labels))
    return folder


def line(images: int, loss: float) -> str:
    return json.dumps({"images": images, "kimg": images / 1000, "loss_generator": loss}) + "\n"


def points(uri: str, run: str, key: str = "loss_generator") -> list[tuple[int, float]]:
    history = tracking.connect(uri).get_metric_history(run, key)
    return [(point.step, point.value) for point in history]


def wait_for_points(uri: str, run: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(points(uri, run)) < count:
        assert time.monotonic() < deadline, f"only {points(uri, run)}"
        time.sleep(0.1)


def test_the_environment_names_the_server(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    assert tracking.tracking_uri(state) == "http://mlflow.example"


def test_a_ui_that_is_gone_is_not_used(tmp_path: Path, free_port: int) -> None:
    addresses.write(tmp_path, "", f"http://127.0.0.1:{free_port}")
    assert tracking.tracking_uri(tmp_path) == f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"


def test_an_unreachable_server_is_named_within_seconds(free_port: int) -> None:
    address = f"http://127.0.0.1:{free_port}"
    began = time.monotonic()
    with pytest.raises(
        GanpipeError,
        match=rf"{address} does not answer \(Connection refused\).*MLFLOW_TRACKING_URI",
    ):
        tracking.check(address)
    assert time.monotonic() - began < 8


def test_another_service_is_not_taken_for_mlflow() -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(GanpipeError, match="status 404"):
            tracking.check(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_a_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanpipeError, match="MLflow cannot use sqlite"):
        tracking.check(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}")


def test_a_run_carries_parameters_and_identity(uri: str, state: Path, run: str) -> None:
    found = tracking.connect(uri).get_run(run)
    assert found.data.params["train.kimg"] == str(Params().train.kimg)
    assert found.data.params["register.model"] == "ganpipe"
    assert found.data.tags["ganpipe.git_commit"] == "abc"
    assert found.info.run_name == "train digits"
    tracking.end_run(uri, run, "FINISHED")
    assert tracking.connect(uri).get_run(run).info.status == "FINISHED"


def test_a_run_whose_process_was_killed_is_closed_by_the_next(tmp_path: Path) -> None:
    uri = tracking.tracking_uri(tmp_path)
    start = (
        "import os, sys; from pathlib import Path; from ganpipe import tracking\n"
        "from ganpipe.params import Params\n"
        "print(tracking.start_run(sys.argv[1], Path(sys.argv[2]), 'a', Params(), {}), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", start, uri, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    client = tracking.connect(uri)
    assert client.get_run(killed).info.status == "RUNNING"
    ours = tracking.start_run(uri, tmp_path, "b", Params(), {})
    elsewhere = tracking.start_run(uri, tmp_path, "c", Params(), {})
    assert client.get_run(killed).info.status == "KILLED"
    mark = json.loads(client.get_run(ours).data.tags["ganpipe.process"])
    client.set_tag(elsewhere, "ganpipe.process", json.dumps({**mark, "started": 0.0}))
    client.set_tag(elsewhere, "ganpipe.host", "another machine")
    tracking.start_run(uri, tmp_path, "d", Params(), {})
    assert client.get_run(ours).info.status == "RUNNING"
    assert client.get_run(elsewhere).info.status == "RUNNING"


def test_a_server_that_goes_away_is_named_and_a_wrong_request_is_a_defect(
    uri: str, run: str, workspace: Path, free_port: int
) -> None:
    from mlflow.exceptions import MlflowException

    address = f"http://127.0.0.1:{free_port}"
    for work in (
        lambda: tracking.log_report(address, run, workspace),
        lambda: tracking.end_run(address, run, "FINISHED"),
        lambda: tracking.connect(address).log_text(run, "text", "a/file.txt"),
    ):
        with (
            pytest.raises(GanpipeError, match=f"MLflow at {address} failed.*refused.*run again"),
            tracking.named_outages(address),
        ):
            work()
    with pytest.raises(MlflowException, match="Invalid value"), tracking.named_outages(uri):
        tracking.connect(uri).log_metric(run, "bad\nname", 1.0)


def test_a_deleted_experiment_is_named_with_the_way_back(tmp_path: Path) -> None:
    uri = tracking.tracking_uri(tmp_path)
    run = tracking.start_run(uri, tmp_path, "first", Params(), {})
    client = tracking.connect(uri)
    client.delete_experiment(client.get_run(run).info.experiment_id)
    with pytest.raises(GanpipeError, match="mlflow experiments restore"):
        tracking.start_run(uri, tmp_path, "second", Params(), {})


def test_a_report_arrives_with_its_lineage(
    uri: str, state: Path, run: str, workspace: Path
) -> None:
    tracking.log_report(uri, run, workspace)
    client = tracking.connect(uri)
    assert points(uri, run, "fid_lite0_1k") == [(20000, 23.5)]
    assert points(uri, run, "floor_fid_lite0_1k") == [(20000, 1.5)]
    kept = {
        entry.path
        for folder in ("report", "data", "grids", "lineage")
        for entry in client.list_artifacts(run, folder)
    }
    assert kept == {
        "report/metrics.json",
        "report/samples.png",
        "data/data.html",
        "grids/grid-000020.png",
        "lineage/params.yaml",
        "lineage/dvc.lock",
    }
    assert points(uri, run, "images") == []
    note = client.get_run(run).data.tags["mlflow.note.content"]
    assert note.startswith("fid_lite0_1k 23.5 (real against real 1.5)\n")
    assert f"get-artifact?run_uuid={run}&path=report/samples.png" in note
    assert list((state / "mlflow" / "artifacts").rglob("samples.png"))


def test_both_sides_of_the_data_are_inputs_of_the_run(uri: str, run: str, workspace: Path) -> None:
    tracking.log_report(uri, run, workspace)
    tracking.log_report(uri, run, workspace)  # a retry changes nothing
    entries = tracking.connect(uri).get_run(run).inputs.dataset_inputs
    found = {each.tags[0].value: each.dataset for each in entries}
    assert {each.tags[0].key for each in entries} == {"mlflow.data.context"}
    assert set(found) == {"training", "testing"}
    assert len(entries) == 2
    profile = json.loads(found["training"].profile)
    assert profile == {
        **{"split": "train", "count": 7, "height": 4, "width": 8, "channels": 1},
        "classes": {"cat": 2, "dog": 5},
        "sha256": "train56789" * 6,
    }
    assert json.loads(found["testing"].profile)["classes"] == {"cat": 1, "dog": 2}
    assert found["testing"].digest == ("test56789" * 6)[:36]
    source = json.loads(found["testing"].source)
    assert source["fingerprint"] == {"source": "digits", "count": 12, "digest": "ab"}
    assert source["test_fraction"] == Params().data.test_fraction
    from mlflow.data.schema import TensorDatasetSchema  # MLflow is imported by `tracking` first

    schema = TensorDatasetSchema.from_dict(json.loads(found["training"].schema))
    assert schema.features.inputs[0].shape == (-1, 4, 8, 1)
    assert schema.targets.inputs[0].type == np.dtype("int64")


@pytest.mark.parametrize(
    ("source", "path", "name"),
    [
        ("folder", "/path/to/cats", "cats"),
        ("folder", "s3://bucket/some/cats/", "cats"),
        ("archive", "https://host/cats.zip?signature=a/b", "cats.zip"),
        ("celeba", "/data/celeba-files", "celeba"),
    ],
)
def test_a_data_set_is_named_for_what_was_read(
    uri: str, run: str, workspace: Path, source: Any, path: str, name: str
) -> None:
    write(Params(data=DataParams(source=source, path=path)), workspace / "params.yaml")
    tracking.log_report(uri, run, workspace)
    entries = tracking.connect(uri).get_run(run).inputs.dataset_inputs
    assert {each.dataset.name for each in entries} == {name}


@pytest.mark.integration
def test_a_server_has_the_data_and_its_page(
    tmp_path: Path,
    workspace: Path,
    mlflow_server: Callable[[Path, int], AbstractContextManager[str]],
    free_port: int,
) -> None:
    with mlflow_server(tmp_path / "state", free_port) as address:
        run = tracking.start_run(address, tmp_path / "state", "train", Params(), {})
        tracking.log_report(address, run, workspace)
        # what the run's page in MLflow asks for when data.html is chosen there
        query = f"get-artifact?run_uuid={run}&path=data/data.html"
        with addresses.opener(address).open(f"{address}/{query}", timeout=20) as answer:
            assert answer.read() == (workspace / "data/report/data.html").read_bytes()
        inputs = tracking.connect(address).get_run(run).inputs.dataset_inputs
    assert {each.dataset.digest for each in inputs} == {
        ("train56789" * 6)[:36],
        ("test56789" * 6)[:36],
    }


def test_only_complete_lines_are_read_and_a_truncated_file_again(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    lines = Lines(path)
    assert lines.new() == []
    path.write_text("a\nb\nhal")
    assert lines.new() == [b"a\n", b"b\n"]
    path.write_text("a\nb\nhalf\n")
    assert lines.new() == [b"half\n"]
    path.write_text("a\n")
    assert lines.new() == [b"a\n"]
    path.write_text("c\nd\n")  # truncated and grown past the old place between two looks
    assert lines.new() == [b"c\n", b"d\n"]
    assert lines.new() == []


def test_curves_are_followed_live_and_never_doubled(uri: str, run: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    forwarder = HistoryForwarder(uri, run)
    forwarder.follow(path)
    path.write_text(line(1000, 3.0) + line(2000, 2.0) + line(3000, 1.0)[:-9])
    wait_for_points(uri, run, 2)
    path.write_text(line(1000, 3.0))  # a resumed run goes back to its exact state
    time.sleep(2.5)
    path.write_text(line(1000, 3.0) + line(2000, 2.0) + line(3000, 1.0) + line(4000, float("nan")))
    forwarder.finish(path)
    found = points(uri, run)
    assert found[:3] == [(1000, 3.0), (2000, 2.0), (3000, 1.0)]
    assert len(found) == 4
    forwarder.finish(path)
    assert len(points(uri, run)) == 4


def test_speed_and_what_only_some_lines_have_are_followed_too(
    uri: str, run: str, tmp_path: Path
) -> None:
    path = tmp_path / "scratch" / "history.jsonl"
    path.parent.mkdir()
    forwarder = HistoryForwarder(uri, run)
    forwarder.follow(path)
    path.write_text(
        line(1000, 3.0)
        + '{"images": 2000, "kimg": 2.0, "fid_quick_lite0_1k": 30.5}\n'
        + '{"images": 2000, "kimg": 2.0, "end": "no snapshot was better"}\n'
    )
    path.with_name("speed.jsonl").write_text('{"images": 1000, "images_per_second": 500.0}\n')
    delivered = tmp_path / "model.jsonl"  # the stage's output, without its speed
    delivered.write_bytes(path.read_bytes())
    forwarder.finish(delivered)
    assert points(uri, run) == [(1000, 3.0)]
    assert points(uri, run, "fid_quick_lite0_1k") == [(2000, 30.5)]
    assert points(uri, run, "images_per_second") == [(1000, 500.0)]
    assert set(tracking.connect(uri).get_run(run).data.metrics) == {
        "loss_generator",
        "fid_quick_lite0_1k",
        "images_per_second",
    }


def test_following_does_not_wait_for_a_server_that_hangs(tmp_path: Path) -> None:
    returned, waited = threading.Event(), []

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            waited.append(returned.wait(20))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

    path = tmp_path / "history.jsonl"
    path.write_text(line(1000, 3.0))
    server = http.server.HTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        forwarder = HistoryForwarder(f"http://127.0.0.1:{server.server_port}", "run")
        forwarder.follow(path)
        returned.set()  # only now may the server answer
        deadline = time.monotonic() + 20
        while not waited:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        forwarder.finish(path)
    finally:
        server.shutdown()
        server.server_close()
    assert waited == [True]


def test_a_cached_history_is_replayed_whole(uri: str, run: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("".join(line(step, 1.0 / (step + 1)) for step in range(2500)))
    HistoryForwarder(uri, run).finish(path)
    assert len(points(uri, run)) == 2500


def test_a_broken_history_is_a_defect_and_no_silence(uri: str, run: str, tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("no json\n")
    forwarder = HistoryForwarder(uri, run)
    forwarder.follow(path)
    assert forwarder._thread is not None
    forwarder._thread.join(20)  # it ends by its defect, nobody stops it
    assert not forwarder._thread.is_alive()
    path.write_text(line(1000, 3.0))  # so that only the remembered defect is left
    with pytest.raises(json.JSONDecodeError):
        forwarder.finish(path)


@pytest.mark.integration
def test_an_outage_of_the_server_loses_no_point(
    tmp_path: Path,
    mlflow_server: Callable[[Path, int], AbstractContextManager[str]],
    free_port: int,
) -> None:
    state, path = tmp_path / "state", tmp_path / "history.jsonl"
    with mlflow_server(state, free_port) as address:
        addresses.write(state, "", address)
        uri = tracking.tracking_uri(state)
        assert uri == address
        run = tracking.start_run(uri, state, "train", Params(), {})
        forwarder = HistoryForwarder(uri, run)
        forwarder.follow(path)
        path.write_text(line(1000, 3.0))
        wait_for_points(uri, run, 1)
    with path.open("a") as file:
        file.write(line(2000, 2.0))
    time.sleep(2.5)  # a poll meets the dead server
    with pytest.raises(GanpipeError, match=f"did not reach MLflow run {run}"):
        forwarder.finish(path)
    with mlflow_server(state, free_port):
        with path.open("a") as file:
            file.write(line(3000, 1.0))
        forwarder.finish(path)
        assert points(uri, run) == [(1000, 3.0), (2000, 2.0), (3000, 1.0)]
    # the same records without a server
    assert len(points(f"sqlite:///{state / 'mlflow' / 'mlflow.db'}", run)) == 3
