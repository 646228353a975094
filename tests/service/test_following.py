"""The service serves the champion, whoever that becomes, and drops no request on the way."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx
import pytest

from ganpipe import serving, tracking
from ganpipe.service import answers
from tests.service.running import Serve, Service
from tests.service.versions import NAME, Versions

MlflowServer = Callable[[Path, int], AbstractContextManager[str]]
CHAMPION = ("--model", f"models:/{NAME}@champion", "--poll", "0.2")


def wait_for(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def expected(versions: Versions, version: str, seed: int) -> bytes:
    images = serving.generate(versions.generators[version], 16, seed)
    return answers.sheet(images)


def test_moves_of_the_alias_under_load_fail_no_request(serve: Serve, versions: Versions) -> None:
    versions.move("1")
    stop, failed = threading.Event(), list[str]()
    seen: dict[str, int] = {}

    def ask_on(service: Service, seed: int) -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                body = {"n": 16, "seed": seed}
                answer = client.post(f"{service.address}/generate", json=body)
                version = answer.headers.get("x-ganpipe-version", "")
                if answer.status_code != 200 or answer.content != right[version, seed]:
                    failed.append(f"{answer.status_code} {version} {seed}")
                seen[version] = seen.get(version, 0) + 1

    seeds = (1, 2, 3)
    right = {(v, s): expected(versions, v, s) for v in ("1", "2", "3") for s in seeds}
    with serve(versions.state, versions.uri, *CHAMPION) as service:
        threads = [threading.Thread(target=ask_on, args=(service, seed)) for seed in seeds]
        for thread in threads:
            thread.start()
        for version in ("2", "3", "1"):
            versions.move(version)
            wait_for(lambda version=version: service.health()["version"] == version)  # type: ignore[misc]
            time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
        assert "\nganpipe_swaps 3.0\n" in httpx.get(f"{service.address}/metrics").text
    assert failed == []
    assert set(seen) == {"1", "2", "3"}
    assert min(seen.values()) > 3


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one(serve: Serve, tmp_path: Path) -> None:
    versions = Versions(tmp_path)
    for seed in (1, 2, 3):
        versions.register(seed)
    versions.move("1")
    client = tracking.connect(versions.uri)
    damaged, gone = (
        Path(url2pathname(urlsplit(client.get_model_version(NAME, version).source).path))
        for version in ("2", "3")
    )
    weights = damaged / "artifacts/generator/generator.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    shutil.rmtree(gone)
    with serve(versions.state, versions.uri, *CHAMPION) as service:

        def keeps_the_first() -> None:
            wait_for(lambda: service.health()["registry"] == "out of reach")
            assert service.health()["version"] == "1"
            assert service.ask(n=16, seed=4).content == expected(versions, "1", 4)
            assert "\nganpipe_registry_up 0.0\n" in httpx.get(f"{service.address}/metrics").text

        versions.move("2")
        keeps_the_first()
        versions.move("1")
        wait_for(lambda: service.health()["registry"] == "followed")
        versions.move("3")
        keeps_the_first()
        client.delete_registered_model_alias(NAME, "champion")
        log = versions.state / "service.log"
        wait_for(lambda: "has no alias champion" in log.read_text())
        keeps_the_first()
        weights.write_bytes(sound)
        versions.move("2")
        wait_for(lambda: service.health()["version"] == "2")
        assert service.health()["registry"] == "followed"
    assert "is damaged: its sha256 is not" in log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.integration
@pytest.mark.slow
def test_while_mlflow_is_down_the_model_that_is_loaded_stays(
    serve: Serve, mlflow_server: MlflowServer, free_port: int, tmp_path: Path
) -> None:
    with mlflow_server(tmp_path / "server", free_port) as address:
        versions = Versions(tmp_path / "here", address)
        versions.register(1)
        versions.register(2)
        versions.move("1")
        starting = serve(versions.state, address, *CHAMPION)
        service = starting.__enter__()
    try:
        wait_for(lambda: service.health()["registry"] == "out of reach")
        assert service.health()["status"] == "ready"
        assert service.ask(n=16, seed=4).content == expected(versions, "1", 4)
        with mlflow_server(tmp_path / "server", free_port):
            versions.move("2")
            wait_for(lambda: service.health()["version"] == "2", 90)
            assert service.health()["registry"] == "followed"
    finally:
        starting.__exit__(None, None, None)
