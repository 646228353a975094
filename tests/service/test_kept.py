"""What is kept of served samples: bounded, recent, of one model, whole or not there."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ganpipe import registry
from ganpipe.drift import served
from ganpipe.errors import GanpipeError
from ganpipe.service.app import build
from ganpipe.service.kept import Samples
from ganpipe.service.models import Models
from ganpipe.service.queue import WorkQueue
from tests.service.running import Serve
from tests.service.versions import Versions, save

ONE: Any = SimpleNamespace(sha256="1" * 64)
OTHER: Any = SimpleNamespace(sha256="2" * 64)


def numbered(first: int, count: int) -> np.ndarray:
    """Images whose pixels are their number."""
    numbers = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
    return np.broadcast_to(numbers, (count, 2, 2, 1)).copy()


def kept(folder: Path, of: Any = ONE) -> list[int]:
    return sorted(served.read(served.path_of(folder, of.sha256))[:, 0, 0, 0].tolist())


def test_all_are_kept_until_it_is_full_and_then_newer_ones_take_random_places(
    tmp_path: Path,
) -> None:
    samples = Samples(tmp_path, 50, seconds=0)
    samples.add(ONE, numbered(0, 30))
    samples.add(ONE, numbered(30, 20))
    assert kept(tmp_path) == list(range(50))
    samples.add(ONE, numbered(50, 200))
    left = kept(tmp_path)
    assert len(left) == 50
    assert len([number for number in left if number < 50]) < 10, "0.98 ** 200 of 50 is one"
    assert len([number for number in left if number >= 150]) > 25


def test_they_are_written_now_and_then_and_at_the_end_and_an_earlier_process_is_gone_on_from(
    tmp_path: Path,
) -> None:
    samples = Samples(tmp_path, 50, seconds=3600)
    samples.add(ONE, numbered(0, 3))
    samples.add(ONE, numbered(3, 3))
    assert kept(tmp_path) == [0, 1, 2]
    samples.close()
    assert kept(tmp_path) == [0, 1, 2, 3, 4, 5]
    Samples(tmp_path, 50).add(ONE, numbered(6, 2))
    assert kept(tmp_path) == [0, 1, 2, 3, 4, 5, 6, 7]
    served.path_of(tmp_path, ONE.sha256).write_bytes(b"rubbish")
    Samples(tmp_path, 50).add(ONE, numbered(8, 2))
    assert kept(tmp_path) == [8, 9]


def test_only_the_model_that_is_served_has_a_file(tmp_path: Path) -> None:
    samples = Samples(tmp_path, 50, seconds=0)
    samples.add(ONE, numbered(0, 5))
    samples.add(OTHER, numbered(5, 5))
    assert kept(tmp_path, OTHER) == [5, 6, 7, 8, 9]
    assert [path.name for path in tmp_path.iterdir()] == [f"served-{'2' * 16}.npz"]


def test_a_slow_disk_keeps_no_request_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, goes_on, savez = threading.Event(), threading.Event(), np.savez

    def slow(*given: Any, **named: Any) -> None:
        writes.set()
        assert goes_on.wait(30)
        savez(*given, **named)

    monkeypatch.setattr(np, "savez", slow)
    samples = Samples(tmp_path, 50, seconds=3600)
    first = threading.Thread(target=samples.add, args=(ONE, numbered(0, 3)))
    first.start()
    assert writes.wait(30)
    samples.add(ONE, numbered(3, 2))
    goes_on.set()
    first.join()
    assert kept(tmp_path) == [0, 1, 2]
    samples.close()
    assert kept(tmp_path) == [0, 1, 2, 3, 4]


def test_a_folder_that_fails_costs_no_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = Samples(tmp_path / "in" / "it", 50, seconds=0)
    (tmp_path / "in" / "it").rmdir()
    (tmp_path / "in").rmdir()
    (tmp_path / "in").write_text("a file in its place")
    samples.add(ONE, numbered(0, 5))
    assert "samples of what is served are not kept" in caplog.text
    with pytest.raises(GanpipeError, match="--keep-samples"):
        Samples(tmp_path / "in" / "it", 50)
    (tmp_path / "in").unlink()
    samples.add(ONE, numbered(5, 1))
    assert kept(tmp_path / "in" / "it") == [0, 1, 2, 3, 4, 5]


def test_what_another_model_replaced_meanwhile_is_not_kept(tmp_path: Path) -> None:
    models, others = (
        Models(str(save(tmp_path / str(seed), seed)), str, tmp_path / "cache") for seed in (1, 2)
    )
    old, new = models.current, others.current

    class Late(WorkQueue):
        async def run(self, work: Callable[[], Any], *rest: Any) -> Any:
            models.current = new  # while it waited for its turn
            return await super().run(work, *rest)

    samples = Samples(tmp_path / "kept", 50, seconds=0)
    with TestClient(build(models, Late(1, 4), kept=samples)) as client:
        for name in (old.sha256, new.sha256):
            answer = client.post("/generate", json={"n": 2, "label": -1})
            assert answer.status_code == 200
            assert served.path_of(samples.folder, name).exists() is (name == new.sha256)


@pytest.mark.slow
def test_the_service_keeps_what_it_serves_as_the_model_is_measured(
    versions: Versions, serve: Serve, tmp_path: Path
) -> None:
    options = ("--keep-samples", str(tmp_path / "kept"), "--keep", "40")
    with serve(tmp_path, versions.uri, "--model", "models:/painter/2", *options) as service:
        answer = service.ask(n=6, seed=5, format="zip")
        assert service.ask(n=4, seed=6, truncation=0.5).status_code == 200
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        pictures = [
            np.asarray(Image.open(archive.open(name)))
            for name in archive.namelist()
            if name.endswith(".png")
        ]
    version = registry.find(versions.uri, "2", "painter")
    path = served.path_of(tmp_path / "kept", version.tags["ganpipe.generator_sha256"])
    images = served.read(path)
    assert [image.squeeze().tobytes() for image in images] == [p.tobytes() for p in pictures]
