"""`ganpipe doctor` names each gap with its way out, quickly, and never with a traceback."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flows.prefect_server import shared_server
from ganpipe import doctor
from ganpipe.doctor import databases, servers
from ganpipe.params import Params, write
from tests.conftest import MlflowServer

DVC = (sys.executable, "-m", "dvc")


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "GANPIPE_STATE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A checkout with one commit and a DVC remote in a folder."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    write(Params(), folder / "params.yaml")
    (folder / ".gitignore").write_text(".ganpipe/\n")
    run(folder, "git", "init", "--quiet")
    run(folder, *DVC, "init", "--quiet")
    run(folder, *DVC, "remote", "add", "--quiet", "--default", "store", str(tmp_path / "remote"))
    run(folder, "git", "add", ".")
    who = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run(folder, "git", *who, "commit", "--quiet", "--message", "start")
    return folder


def run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True)


def by_name(start: Path) -> dict[str, doctor.Check]:
    found = doctor.checks(start)
    for check in found:
        assert check.status == "ok" or check.remedy, check
    return {check.name: check for check in found}


def test_a_sound_checkout_lacks_nothing(repo: Path) -> None:
    found = by_name(repo)
    assert {name for name, check in found.items() if check.status == "fail"} == set()
    assert found["git"].found.endswith("clean")
    assert found["DVC remote"].status == "ok"
    assert {
        "torch",
        "prefect",
        "mlflow",
        "dvc",
        "bf16",
        "threads",
        "images",
    } <= set(found)
    assert "each run brings its own" in found["Prefect"].found
    assert list((repo.parent).iterdir()) == [repo]  # looking changes nothing


def test_every_gap_is_named_with_a_remedy(
    repo: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port}/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port}")
    run(repo, *DVC, "remote", "modify", "store", "url", str(repo.parent / "no" / "such" / "place"))
    (repo / "params.yaml").write_text("train:\n  kimgs: 3\n")
    (repo / "requirements.lock").write_text("numpy==1.0\npackage-of-nobody==2.0\n")
    found = by_name(repo)
    assert "kimgs is not a parameter" in found["params.yaml"].remedy
    assert "PREFECT_API_URL" in found["Prefect"].remedy
    assert "MLFLOW_TRACKING_URI" in found["MLflow"].remedy
    assert found["DVC remote"].status == "warn"
    assert "uncommitted" in found["git"].found
    assert "package-of-nobody missing instead of 2.0" in found["requirements.lock"].found


def test_images_that_are_not_there_are_named_and_nothing_is_fetched(repo: Path) -> None:
    (repo / "params.yaml").write_text("data: {source: folder, path: /no/such/pictures}\n")
    images = by_name(repo)["images"]
    assert images.status == "fail"
    assert "/no/such/pictures" in images.remedy
    (repo / "params.yaml").write_text("data: {source: cifar10}\n")
    images = by_name(repo)["images"]
    assert images.status == "warn"
    assert "cifar-10-binary.tar.gz" in images.remedy
    assert not (repo / ".ganpipe").exists()


def test_a_folder_that_is_no_checkout_is_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert doctor.report(tmp_path) == 2
    printed = capsys.readouterr().out
    assert "missing: git, params.yaml, DVC" in printed
    assert "Traceback" not in printed


def test_a_machine_without_git_is_told_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install it" in by_name(tmp_path)["git"].remedy


@pytest.mark.integration
def test_servers_and_databases_of_other_versions_are_named(
    repo: Path, mlflow_server: MlflowServer, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = repo / ".ganpipe"
    with shared_server(state) as prefect, mlflow_server(state, free_port) as mlflow:
        monkeypatch.setenv("PREFECT_API_URL", prefect)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow)
        found = by_name(repo)
        for name in ("Prefect", "MLflow"):
            assert found[name].found.endswith("as here")
            assert found[f"{name}'s database"].status == "ok"
        monkeypatch.setattr(servers, "version", lambda name: "3.0.0")
        found = by_name(repo)
        for name in ("Prefect", "MLflow"):
            assert found[name].status == "warn"
            assert found[name].found.endswith(", here is 3.0.0")
        monkeypatch.delenv("PREFECT_API_URL")  # or the server would be somebody else's to end
    for database in ("prefect/prefect.db", "mlflow/mlflow.db"):
        with closing(sqlite3.connect(state / database)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = 'unheard'")
            connection.commit()
    found = by_name(repo)
    assert found["Prefect's database"].found.endswith("(revision unheard)")
    assert "requirements.lock" in found["MLflow's database"].remedy


@pytest.mark.parametrize("schema", databases.SCHEMAS, ids=lambda schema: schema.package)
def test_an_older_database_is_copied_and_upgraded(schema: databases.Schema, repo: Path) -> None:
    database = repo / ".ganpipe" / schema.database
    database.parent.mkdir(parents=True)
    database.touch()
    assert by_name(repo)[schema.name].found.endswith("is empty")
    steps = databases.steps_of(schema)
    (newest,) = steps.keys() - set(steps.values())
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [steps[newest]])
        connection.commit()
    told = by_name(repo)[schema.name]
    assert "is older than" in told.found
    assert "upgrade" in told.remedy
