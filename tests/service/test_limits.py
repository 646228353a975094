"""Who may ask, how much at once, and how the service ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from ganpipe.errors import GanpipeError
from ganpipe.service.access import TOKEN_VARIABLE, allowed, check_host, read_token
from ganpipe.service.server import serve as serve_until_ended
from tests.service.running import Serve
from tests.service.versions import Versions, save, small


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that needs a good part of a second for the most images of a request."""
    return str(save(tmp_path_factory.mktemp("slow"), 1, small(128)))


def test_overload_is_told_to_come_back_and_passes(serve: Serve, slow: str, tmp_path: Path) -> None:
    with serve(tmp_path, "", "--model", slow, "--waiting", "2") as service:
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda seed: service.ask(n=64, seed=seed), range(12)))
            assert service.health()["status"] == "ready"
        statuses = sorted(answer.status_code for answer in answers)
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 3
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert refused.headers["retry-after"] == "1"
        assert "come back in 1 s" in refused.json()["detail"]
        assert [service.ask(n=1).status_code for _ in range(5)] == [200] * 5
        measured = httpx.get(f"{service.address}/metrics").text
        assert "\nganpipe_queue 0.0\n" in measured


def test_who_goes_away_is_not_waited_for_and_ctrl_c_is_no_error(
    serve: Serve, slow: str, tmp_path: Path
) -> None:
    with serve(tmp_path, "", "--model", slow, "--waiting", "100") as service:
        with ThreadPoolExecutor(20) as pool:
            asked = [pool.submit(service.ask, n=256, timeout=0.5) for _ in range(20)]
        assert sum(isinstance(each.exception(), httpx.ReadTimeout) for each in asked) > 10
        assert service.ask(n=1).status_code == 200
        measured = httpx.get(f"{service.address}/metrics").text
        gone = re.search(r'path="/generate",status="499"} (\d+)', measured)
        assert gone
        assert int(gone[1]) > 5
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(30) == 0
    assert "Traceback" not in (tmp_path / "service.log").read_text()


def test_sigterm_finishes_what_was_begun(serve: Serve, slow: str, tmp_path: Path) -> None:
    with serve(tmp_path, "", "--model", slow) as service:
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(service.ask, n=128, seed=seed) for seed in range(4)]
            wait_for_queue(service.address, 4)
            service.process.send_signal(signal.SIGTERM)
            assert [each.result().status_code for each in asked] == [200] * 4
        assert service.process.wait(30) == -signal.SIGTERM
        with pytest.raises(httpx.ConnectError):
            service.health()
    assert "Traceback" not in (tmp_path / "service.log").read_text()


def wait_for_queue(address: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while f"\nganpipe_queue {count}.0\n" not in httpx.get(f"{address}/metrics").text:
        assert time.monotonic() < deadline


def test_with_a_token_only_who_sends_it_gets_images(
    serve: Serve, slow: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("correct-horse\n")
    options = ("--model", slow, "--host", "0.0.0.0", "--token-file", str(file))  # noqa: S104
    with serve(tmp_path / "state", "", *options) as service:
        address = service.address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104
        good = {"Authorization": "Bearer correct-horse"}
        for path, method in (("generate", "POST"), ("metrics", "GET"), ("model", "GET")):

            def ask(headers: dict[str, str], path: str = path, method: str = method) -> int:
                body = {"n": 1} if method == "POST" else None
                url = f"{address}/{path}"
                return httpx.request(method, url, headers=headers, json=body).status_code

            for bad in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "correct-horse"}):
                assert ask(bad) == 401
            assert ask(good) == 200
        assert httpx.get(f"{address}/").status_code == 200
        assert httpx.get(f"{address}/health").status_code == 200
        refused = httpx.post(f"{address}/generate", json={})
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "correct-horse" not in refused.text
        assert "correct-horse" not in Path(f"/proc/{service.process.pid}/cmdline").read_text()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])  # noqa: S104
def test_other_machines_are_let_in_only_with_a_token_or_by_saying_so(host: str) -> None:
    with pytest.raises(GanpipeError, match=r"--token-file .* --without-token"):
        check_host(host, "", without_token=False)
    check_host(host, "token", without_token=False)
    check_host(host, "", without_token=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_this_machine_needs_no_token(host: str) -> None:
    check_host(host, "", without_token=False)


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) == ""
    monkeypatch.setenv(TOKEN_VARIABLE, "of-environment")
    assert read_token(None) == "of-environment"
    file = tmp_path / "token"
    with pytest.raises(GanpipeError, match="cannot be read"):
        read_token(file)
    for content, message in ((" \n", "is empty"), ("two words", "without spaces"), ("ü", "ASCII")):
        file.write_text(content)
        with pytest.raises(GanpipeError, match=message):
            read_token(file)
    file.write_text("of-file\n")
    assert read_token(file) == "of-file"
    assert allowed("of-file", "of-file")
    for given in (None, "", "of-fil", "of-file ", "öf-file"):
        assert not allowed("of-file", given)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/painter@champio", "has no alias champio"),
        ("models:/painter/9", "has no version 9"),
        ("models:/painter@a b", "write models:/"),
        ("no/such/folder", "is no folder with a generator.json"),
    ],
)
def test_a_model_that_does_not_exist_is_answered_with_what_does(
    versions: Versions, tmp_path: Path, model: str, message: str
) -> None:
    with pytest.raises(GanpipeError, match=message):
        serve_until_ended(model, lambda: versions.uri, tmp_path, port=0)


def test_a_port_that_is_taken_is_named(versions: Versions, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GanpipeError, match=f"cannot listen at 127.0.0.1 port {port}"):
            serve_until_ended("no/model", lambda: versions.uri, tmp_path, port=port)


def test_the_command_line_ends_with_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganpipe", "serve", "--host", "0.0.0.0"]  # noqa: S104
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --host 0.0.0.0 lets other machines in: ")
