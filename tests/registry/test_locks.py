"""Who moves aliases of one registry takes one lock, wherever the command is started."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from flows import prefect_server
from ganpipe import addresses
from ganpipe.errors import GanpipeError
from ganpipe.params import RegisterParams
from ganpipe.registry.locks import file_lock, has_shared_lock, is_shared, lock_folder
from ganpipe.registry.place import Place

SERVER = "http://mlflow.example:5000"


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", addresses.OWN_PREFECT, "GANPIPE_STATE"):
        monkeypatch.delenv(name, raising=False)


def place(repo: Path, uri: str, taken: list[str]) -> Place:
    @contextmanager
    def shared():
        taken.append("shared")
        yield

    repo.mkdir(exist_ok=True)
    return Place(repo, uri, "cats", RegisterParams(), shared)


def test_two_checkouts_of_one_database_take_one_lock(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    folders = {lock_folder(uri, tmp_path / name / ".ganpipe") for name in ("one", "other")}
    assert folders == {tmp_path}
    with (
        place(tmp_path / "one", uri, []).lock(),
        pytest.raises(GanpipeError, match=r"has held .*registry\.lock"),
        file_lock(folders.pop(), seconds=0.1),
    ):
        pass


@pytest.mark.parametrize("uri", [SERVER, "postgresql://db/mlflow"])
def test_a_shared_registry_takes_prefects_lock_where_all_use_one(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[str] = []
    assert is_shared(uri, tmp_path)
    lock = place(tmp_path, uri, taken).lock()
    assert caplog.text == "", "a look that finds nothing takes no lock, and says nothing"
    with lock:
        assert taken == []
    assert "PREFECT_API_URL" in caplog.text  # nothing keeps the others out, which is told
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    with place(tmp_path, uri, taken).lock():
        assert taken == ["shared"]


def test_the_server_that_ganpipe_started_for_itself_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "http://127.0.0.1:4200/api"
    for name, value in prefect_server.settings(tmp_path, own).items():
        monkeypatch.setenv(name, value)
    assert not has_shared_lock()
    monkeypatch.setenv("PREFECT_API_URL", "http://prefect.example/api")
    assert has_shared_lock()


def test_the_mlflow_of_make_ui_is_this_checkouts_own(tmp_path: Path) -> None:
    written = addresses.write(tmp_path, "http://127.0.0.1:1/api", SERVER)
    assert not is_shared(SERVER, tmp_path)
    written.unlink()
    assert is_shared(SERVER, tmp_path)
