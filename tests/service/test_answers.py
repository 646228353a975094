"""The service answers with exactly the images that were asked for, or says what is wrong."""

from __future__ import annotations

import base64
import io
import json
import re
import statistics
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from ganpipe import images as pictures
from ganpipe import serving
from ganpipe.data.sources import make_source
from ganpipe.params import DataParams
from ganpipe.service.answers import chosen
from tests.service.running import Serve, Service
from tests.service.versions import CLASSES, NAME, Versions


@pytest.fixture(scope="module")
def service(serve: Serve, versions: Versions) -> Iterator[Service]:
    with serve(versions.state, versions.uri, "--model", f"models:/{NAME}/1") as running:
        yield running


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def test_every_format_holds_the_images_of_the_same_seed(
    service: Service, versions: Versions
) -> None:
    wanted = {"n": 7, "seed": 11, "label": "dog", "truncation": 0.5}
    expected = serving.generate(versions.generators["1"], 7, 11, label=1, truncation=0.5)
    grid = service.ask(**wanted)
    assert grid.headers["content-type"] == "image/png"
    assert (pixels(grid.content) == pictures.grid(expected)).all()
    archive = zipfile.ZipFile(io.BytesIO(service.ask(**wanted, format="zip").content))
    assert archive.testzip() is None
    names = [f"{number:05}.png" for number in range(7)]
    assert archive.namelist() == [*names, "metadata.jsonl", "generation.json"]
    told = service.ask(**wanted, format="json").json()
    for number, image in enumerate(expected):
        assert (pixels(archive.read(f"{number:05}.png")) == image).all()
        assert (pixels(base64.b64decode(told["images"][number])) == image).all()
    assert told["labels"] == ["dog"] * 7
    assert (told["model"], told["version"], told["seed"]) == (NAME, "1", 11)


def test_a_zip_says_what_is_in_it_and_is_a_source_with_classes(
    service: Service, tmp_path: Path
) -> None:
    wanted = {"n": 20, "seed": 5, "truncation": 0.7}
    file = tmp_path / "images.zip"
    file.write_bytes(service.ask(**wanted, format="zip").content)
    told = json.loads(zipfile.ZipFile(file).read("generation.json"))
    known = {"model": NAME, "version": "1", "seed": 5, "truncation": 0.7, "count": 20}
    assert told == known
    labels = service.ask(**wanted, format="json").json()["labels"]
    source = make_source(DataParams(source="archive", path=str(file)))
    found = {entry.path: entry.label for entry in source.entries if entry.path.endswith(".png")}
    assert [label for _, label in sorted(found.items())] == labels


def test_an_answer_does_not_wait_for_the_client_s_acknowledgement(service: Service) -> None:
    """Which systems delay by 40 ms, and a socket that gathers small writes waits for it."""
    seconds = []
    with httpx.Client() as client:
        for _ in range(30):
            began = time.perf_counter()
            client.get(f"{service.address}/health")
            seconds.append(time.perf_counter() - began)
    assert statistics.median(seconds) < 0.03


def test_headers_name_model_version_and_a_seed_that_makes_the_same_again(service: Service) -> None:
    first = service.ask(n=3)
    assert first.headers["x-ganpipe-model"] == NAME
    assert first.headers["x-ganpipe-version"] == "1"
    seed = int(first.headers["x-ganpipe-seed"])
    assert service.ask(n=3, seed=seed).content == first.content
    assert service.ask(n=3).headers["x-ganpipe-seed"] != str(seed)


def test_each_image_of_any_class_says_which_it_is(service: Service, versions: Versions) -> None:
    told = service.ask(n=20, seed=5, format="json").json()
    assert set(told["labels"]) == set(CLASSES)
    for label in CLASSES:
        alone = service.ask(n=20, seed=5, label=label, format="json").json()["images"]
        for number in range(20):
            if told["labels"][number] == label:
                assert alone[number] == told["images"][number]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("*/*", "png"),
        ("application/zip", "zip"),
        ("application/json;q=0.2, image/png;q=0.9", "png"),
        ("text/html, application/json;q=0.9, */*;q=0.1", "json"),
        ("IMAGE/*", "png"),
        ("image/webp", None),
        ("image/png;q=0", None),
        ("image/png;q=1.1.1", "png"),
        ("image/png;q=.", "png"),
        ("image/png;q=.1, application/zip;q=0.2", "zip"),
    ],
)
def test_the_header_accept_chooses_a_format(accept: str, wanted: str | None) -> None:
    assert chosen(accept) == wanted


def test_an_accept_that_nothing_fits_is_told_what_does(service: Service) -> None:
    def ask(accept: str) -> httpx.Response:
        return httpx.post(f"{service.address}/generate", json={}, headers={"Accept": accept})

    assert ask("application/zip").headers["content-type"] == "application/zip"
    assert ask("image/png;q=.").headers["content-type"] == "image/png"
    refused = ask("video/mp4")
    assert refused.status_code == 406
    assert "image/png, application/zip, application/json" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"n": 0}, 400, "n=0"),
        ({"n": -1}, 400, "n=-1"),
        ({"n": 257}, 400, "n=257: ask for 1 to 256 images"),
        ({"n": 10_000_000}, 400, "ask for 1 to 256 images"),
        ({"n": 2.5}, 422, "body.n: Input should be a valid integer"),
        ({"n": "many"}, 422, "body.n"),
        ({"seed": -1}, 400, "seed=-1"),
        ({"seed": 2**63}, 400, f"seed={2**63}"),
        ({"truncation": 0}, 400, "truncation=0"),
        ({"truncation": 1.5}, 400, "truncation=1.5"),
        ({"label": "whale"}, 400, "^label=whale: .*cat, dog"),
        ({"label": "²"}, 400, "^label=²: .*cat, dog"),
        ({"label": "9" * 5000}, 400, "^label=9+…9+: .*cat, dog"),
        ({"label": "3"}, 400, "^label=3: "),
        ({"label": 3}, 400, "label=3"),
        ({"label": -2}, 400, "label=-2"),
        ({"format": "gif"}, 422, "'png', 'zip' or 'json'"),
        ({"number": 3}, 422, "body.number: Extra inputs"),
        ([], 422, "body"),
        ("n=3", 422, "body"),
    ],
)
def test_a_request_that_cannot_be_met_is_told_why(
    service: Service, body: object, status: int, message: str
) -> None:
    answer = httpx.post(f"{service.address}/generate", json=body)
    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert isinstance(detail, str)
    assert re.search(message, detail)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 422),
        (b"", 422),
        (b"[" * 60_000, 400),
        (b'{"n": ' + b"9" * 5000 + b"}", 400),
        (b'{"truncation": NaN}', 400),
        (b"\xff\xfe", 422),
        (b" " * 65_537, 413),
        (b'{"label": "' + b"x" * 10_000_000 + b'"}', 413),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    service: Service, content: bytes, status: int
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{service.address}/generate", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert service.ask(n=1).status_code == 200


def test_a_body_without_a_length_is_cut_off_too(service: Service) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(1000):
            yield b" " * 1024

    headers = {"Content-Type": "application/json"}
    answer = httpx.post(f"{service.address}/generate", content=endless(), headers=headers)
    assert answer.status_code == 413


def test_health_measures_and_descriptions(service: Service) -> None:
    assert service.health() == {
        "status": "ready",
        "model": NAME,
        "version": "1",
        "registry": "fixed",
    }
    before = measures(service)
    service.ask(n=5)
    service.ask(n=0)
    httpx.get(f"{service.address}/no/such/path")
    after = measures(service)
    assert after["ganpipe_images_total"] - before.get("ganpipe_images_total", 0) == 5
    for series in (
        'ganpipe_requests_total{path="/generate",status="200"}',
        'ganpipe_requests_total{path="/generate",status="400"}',
        'ganpipe_requests_total{path="other",status="404"}',
        "ganpipe_generate_seconds_count",
    ):
        assert after[series] - before.get(series, 0) == 1
    assert any(key.startswith(f'ganpipe_model{{model="{NAME}"') for key in after)
    described = httpx.get(f"{service.address}/openapi.json").json()
    assert set(described["paths"]) == {"/generate", "/health", "/metrics", "/model"}
    fields = described["components"]["schemas"]["Wanted"]["properties"]
    assert set(fields) == {"n", "seed", "label", "truncation", "format"}


def measures(service: Service) -> dict[str, float]:
    text = httpx.get(f"{service.address}/metrics").text
    rows = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in rows}


def test_a_model_folder_is_served_without_a_registry(serve: Serve, versions: Versions) -> None:
    folder = versions.folder / "workspace-2" / "model"
    with serve(versions.folder / "alone", "http://127.0.0.1:9", "--model", str(folder)) as running:
        assert running.health()["registry"] == "fixed"
        expected = pictures.grid(serving.generate(versions.generators["2"], 4, 3))
        assert (pixels(running.ask(n=4, seed=3).content) == expected).all()
