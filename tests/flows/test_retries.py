"""Only an answer that did not come is waited for."""

from __future__ import annotations

import errno
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prefect.logging import disable_run_logger

from flows import retries
from flows.retries import StageError, is_outage, patiently
from ganpipe import tracking
from ganpipe.data.sources.store import Store
from ganpipe.errors import GanpipeError
from ganpipe.events import causes

FORMS = ("s3://bucket/images", "http://127.0.0.1:{port}/images/")


def raised(work: Callable[[], object]) -> GanpipeError:
    with pytest.raises(GanpipeError) as caught:
        work()
    return caught.value


@pytest.fixture
def answering() -> Iterator[Callable[[int], str]]:
    """`answering(503)` is the address of a web server that says only that."""
    started = []

    def start(status: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                del arguments

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}/images/"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("url", FORMS)
def test_a_source_that_nobody_serves_is_an_outage(
    free_port: int, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    problem = raised(Store(url.format(port=free_port)).listed)
    assert is_outage(problem), causes(problem)


@pytest.mark.parametrize(
    ("status", "outage"), [(503, True), (429, True), (404, False), (403, False)]
)
def test_what_a_web_server_says_decides(
    answering: Callable[[int], str], status: int, outage: bool
) -> None:
    problem = raised(Store(answering(status)).listed)
    assert is_outage(problem) == outage, causes(problem)


@pytest.mark.parametrize(("status", "outage"), [(503, True), (409, False)])
def test_what_prefects_server_says_decides(
    answering: Callable[[int], str], status: int, outage: bool
) -> None:
    def ask() -> None:
        try:
            httpx.get(answering(status), trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            raise GanpipeError("the Prefect server does not answer") from error

    problem = raised(ask)
    assert is_outage(problem) == outage, causes(problem)


def test_mlflow_that_is_down_is_an_outage(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = f"http://127.0.0.1:{free_port}"

    def use() -> None:
        with tracking.named_outages(uri):
            tracking.connect(uri).search_experiments()

    assert is_outage(raised(lambda: tracking.check(uri)))
    assert is_outage(raised(use))


def test_mlflow_that_refuses_its_user_is_none(answering: Callable[[int], str]) -> None:
    uri = answering(401).removesuffix("/images/")
    assert not is_outage(raised(lambda: tracking.check(uri)))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        OSError(errno.ENOSPC, "No space left on device"),
        GanpipeError("data.min_images=100, but there are 12 usable images"),
        GanpipeError("gate: fid_lite0_10k is not better"),
        StageError("training diverged: loss_generator=nan is not finite", ["GanpipeError"]),
    ],
)
def test_memory_disks_gates_and_images_are_never_tried_again(error: Exception) -> None:
    assert not is_outage(error)
    assert not is_outage(StageError(str(error), causes(error)))


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The seconds that were waited, without the waiting."""
    found: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", found.append)
    with disable_run_logger():
        yield found


def away(times: int) -> Callable[[], str]:
    left = iter(range(times))

    def work() -> str:
        if next(left, None) is not None:
            raise StageError("the bucket cannot be reached", ["GanpipeError", "ReadTimeout"])
        return "done"

    return work


def test_an_outage_of_a_minute_is_outlived_by_a_deployed_run(
    waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment")
    assert patiently(away(3)) == "done"
    assert sum(waited) == 60.0
    assert waited == sorted(waited)
    with pytest.raises(GanpipeError, match="cannot be reached"):
        patiently(away(4))


def test_other_problems_and_other_runs_end_at_once(
    waited: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GanpipeError):
        patiently(away(1))  # somebody sits before this run
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "a deployment")

    def gate() -> None:
        raise GanpipeError("the gate says no")

    with pytest.raises(GanpipeError):
        patiently(gate)
    assert waited == []


def test_a_stage_tells_the_flow_what_led_to_its_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from ganpipe import events

    monkeypatch.setenv(events.VARIABLE, "1")
    try:
        try:
            (tmp_path / "missing").read_bytes()
        except OSError as error:
            raise GanpipeError("the source does not answer") from error
    except GanpipeError as error:
        events.emit("ingest", "error", message=str(error))
    told = events.parse(capsys.readouterr().out)
    assert told is not None
    assert told["causes"] == ["GanpipeError", "FileNotFoundError"]
