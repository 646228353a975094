"""A generator is registered once and judged on one protocol; moves of an alias are on record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from ganpipe import addresses, registry, tracking
from ganpipe.errors import GanpipeError
from ganpipe.files import sha256
from ganpipe.params import Params, override, write
from ganpipe.registry import CANDIDATE, CHAMPION, PREVIOUS, Move, Registration, Verify
from tests.registry.shelf import METRIC, PROTOCOL, all_there, before_write, told

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class Checkout:
    """A state folder and a finished workspace whose generator and numbers a test can change."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.workspace = folder / "a workspace"
        self.uri = tracking.tracking_uri(self.state)
        for name in ("model", "report"):
            (self.workspace / name).mkdir(parents=True)
        write(Params(), self.workspace / "params.yaml")
        (self.workspace / "report/samples.png").write_bytes(b"png")

    def train(self, seed: int, value: float, **protocol: Any) -> None:
        import torch

        from ganpipe.networks import (
            Generator,
            NetworkConfig,
            build_generator,
            save_generator,
        )

        config = NetworkConfig("dcgan", 16, 4, 16, 8, 8, 1)
        torch.manual_seed(seed)
        save_generator(
            self.workspace / "model", Generator(build_generator(config), config, [], 1000)
        )
        digest = sha256(self.workspace / "model/generator.safetensors")
        evaluation = {**told(value, **protocol), "generator_sha256": digest}
        metrics = {METRIC: value, f"floor_{METRIC}": 1.5}
        (self.workspace / "report/metrics.json").write_text(json.dumps(metrics))
        (self.workspace / "report/evaluation.json").write_text(json.dumps(evaluation))
        (self.workspace / "dvc.lock").write_text(f"schema: '2.0' # {digest}\n")

    def lock(self) -> AbstractContextManager[None]:
        return registry.file_lock(self.state)

    def register(self, *assignments: str, verify: Verify = all_there, **more: Any) -> Registration:
        params = override(Params(), list(assignments))
        run = tracking.start_run(self.uri, self.state, "train", params, {})
        identity = {"git_commit": "abc", "git_base": "abc"}
        given = {"lock": self.lock, "verify": verify, **more}
        return registry.register(self.uri, run, self.workspace, params, identity, **given)

    def aliases(self, name: str) -> dict[str, str]:
        return registry.aliases(tracking.connect(self.uri), name)

    def tags(self, name: str, version: str) -> dict[str, str]:
        return dict(tracking.connect(self.uri).get_model_version(name, version).tags)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("registry"))


@pytest.fixture(autouse=True)
def _no_outside_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_better_candidates_become_champion_and_the_way_is_on_record(checkout: Checkout) -> None:
    name = "better"
    checkout.train(seed=1, value=30.0)
    first = checkout.register(f"register.model={name}")
    assert (first.version, first.alias, first.reused) == ("1", CHAMPION, False)
    checkout.train(seed=2, value=20.0)
    second = checkout.register(f"register.model={name}")
    assert (second.version, second.alias) == ("2", CHAMPION)
    checkout.train(seed=3, value=25.0)
    third = checkout.register(f"register.model={name}")
    assert (third.version, third.alias, third.decision.passed) == ("3", CANDIDATE, False)
    assert checkout.aliases(name) == {CANDIDATE: "3", CHAMPION: "2", PREVIOUS: "1"}
    tags = checkout.tags(name, "2")
    assert tags["ganpipe.promoted_by"] == "gate"
    assert tags["ganpipe.promoted_from"] == "1"
    assert "beats" in tags["ganpipe.promoted_reason"]
    (*_, promoted, refused) = registry.history(checkout.uri, name)
    assert promoted.decision.results[0].numbers["champion"] == 30.0
    assert (refused.action, refused.version) == ("refused", "3")
    assert (third.move, second.move) == (refused, promoted)
    assert tags["ganpipe.parent_champion"] == "1"
    assert tags["ganpipe.git_commit"] == "abc"
    assert json.loads(tags["ganpipe.protocol"]) == PROTOCOL
    assert checkout.tags(name, "1")["ganpipe.replaced_by"] == "2"


def test_the_same_generator_is_registered_once(checkout: Checkout) -> None:
    name = "once"
    checkout.train(seed=1, value=30.0)
    assert not checkout.register(f"register.model={name}").reused
    again = checkout.register(f"register.model={name}")
    assert (again.version, again.alias, again.reused) == ("1", CHAMPION, True)
    checkout.train(seed=1, value=29.0)  # the same weights, measured differently
    assert checkout.register(f"register.model={name}").version == "2"


def test_another_protocol_or_approval_by_others_leaves_a_candidate(checkout: Checkout) -> None:
    name = "kept"
    checkout.train(seed=1, value=30.0)
    for approval in ("never", "person"):
        waits = checkout.register(f"register.model={name}", f"register.approval={approval}")
        assert waits.decision.passed
        assert (waits.alias, checkout.aliases(name)) == (CANDIDATE, {CANDIDATE: "1"})
    assert [move.action for move in registry.history(checkout.uri, name)] == ["waiting"]
    assert checkout.register(f"register.model={name}").alias == CHAMPION
    checkout.train(seed=2, value=1.0, reference_sha256="other")
    assert checkout.register(f"register.model={name}").alias == CANDIDATE
    assert checkout.aliases(name)[CHAMPION] == "1"


def test_a_rollback_is_not_undone_by_a_cached_run(checkout: Checkout) -> None:
    name = "rollback"
    checkout.train(seed=1, value=30.0)
    checkout.register(f"register.model={name}")
    checkout.train(seed=2, value=20.0)
    checkout.register(f"register.model={name}")
    registry.rollback(
        checkout.uri,
        name,
        reason="the new one repeats itself",
        by="Ada",
        lock=registry.file_lock(checkout.state),
        verify=all_there,
    )
    assert checkout.aliases(name)[CHAMPION] == "1"
    assert checkout.aliases(name)[PREVIOUS] == "2"
    assert checkout.tags(name, "1")["ganpipe.promoted_by"] == "Ada"
    assert "ganpipe.replaced_by" not in checkout.tags(name, "1")
    again = checkout.register(f"register.model={name}")
    assert (again.version, again.alias) == ("2", CANDIDATE)
    assert "promote it by hand" in again.decision.reason
    assert checkout.aliases(name)[CHAMPION] == "1"


def test_a_run_completes_what_was_killed_before_it_registers(checkout: Checkout) -> None:
    name = "killed"
    checkout.train(seed=1, value=30.0)
    checkout.register(f"register.model={name}")
    checkout.train(seed=2, value=20.0)

    def die() -> None:
        raise KeyboardInterrupt

    with before_write(0, die) as writes:
        checkout.register("register.model=counted")
    doomed = writes.index("set_registered_model_alias", writes.index("set_registered_model_tag"))
    with pytest.raises(KeyboardInterrupt), before_write(doomed + 1, die):
        checkout.register(f"register.model={name}")
    assert checkout.aliases(name)[CHAMPION] == "1"
    checkout.train(seed=3, value=25.0)
    third = checkout.register(f"register.model={name}")
    assert (third.alias, third.decision.champion) == (CANDIDATE, "2")
    assert checkout.aliases(name) == {CANDIDATE: "3", CHAMPION: "2", PREVIOUS: "1"}


def test_registering_keeps_nobody_waiting_for_verify_and_tells_of_every_move(
    checkout: Checkout,
) -> None:
    name, held, asked, moves = "quick", list[bool](), list[tuple[str, bool]](), list[Move]()
    client = tracking.connect(checkout.uri)

    @contextmanager
    def lock() -> Iterator[None]:
        with checkout.lock():
            held.append(True)
            yield
            held.pop()

    def verify(found: ModelVersion) -> list[str]:
        asked.append((str(found.version), bool(held)))
        if asked == [("1", False)]:  # others may do so now, and are noticed
            client.set_registered_model_alias(name, CHAMPION, "1")
        return []

    given: dict[str, Any] = {"lock": lock, "verify": verify, "on_move": moves.append}
    checkout.train(seed=1, value=30.0)
    first = checkout.register(f"register.model={name}", **given)
    assert (asked[0], first.alias, first.move) == (("1", False), CHAMPION, None)
    asked.clear()
    checkout.train(seed=2, value=20.0)
    second = checkout.register(f"register.model={name}", **given)
    assert asked == [("2", False), ("2", True)]
    assert (second.alias, [move.action for move in moves]) == (CHAMPION, ["by-hand", "promoted"])
    assert moves == registry.history(checkout.uri, name)
    asked.clear()
    assert checkout.register(f"register.model={name}", **given).reused
    assert (asked, len(moves)) == ([], 2)


def test_bytes_that_cannot_be_found_keep_a_candidate_from_promotion(checkout: Checkout) -> None:
    checkout.train(seed=1, value=30.0)
    found = checkout.register(
        "register.model=lost", verify=lambda version: ["data/train is nowhere"]
    )
    assert found.alias == CANDIDATE
    assert "data/train is nowhere" in found.decision.reason


def test_a_collapsed_first_version_is_no_champion(checkout: Checkout) -> None:
    checkout.train(seed=1, value=30.0)
    report = checkout.workspace / "report/evaluation.json"
    report.write_text(report.read_text().replace('"value": 0.6', '"value": 0.0'))
    found = checkout.register("register.model=collapsed")
    assert (found.alias, found.decision.reason) == (CANDIDATE, "recall_lite0_1k is 0, not >= 0.1")


def test_a_version_made_by_other_means_is_not_judged(checkout: Checkout) -> None:
    name, client = "foreign", tracking.connect(checkout.uri)
    client.create_registered_model(name)
    client.create_model_version(name, source=str(checkout.workspace))
    client.set_registered_model_alias(name, CHAMPION, "1")
    checkout.train(seed=1, value=1.0)
    found = checkout.register(f"register.model={name}")
    assert found.alias == CANDIDATE
    assert "champion version 1 carries no evaluation" in found.decision.reason
    with pytest.raises(GanpipeError, match="not registered by ganpipe"):
        registry.resolve(checkout.uri, f"models:/{name}/1", checkout.state / "models")


def test_a_report_of_another_generator_is_refused(checkout: Checkout) -> None:
    checkout.train(seed=1, value=1.0)
    report = checkout.workspace / "report/evaluation.json"
    report.write_text(report.read_text().replace('"generator_sha256": "', '"generator_sha256": "0'))
    with pytest.raises(GanpipeError, match="measured another generator"):
        checkout.register("register.model=refused")
    (checkout.workspace / "dvc.lock").unlink()
    with pytest.raises(GanpipeError, match=r"lacks dvc\.lock"):
        checkout.register("register.model=refused")


def test_a_lock_that_stays_taken_is_named(tmp_path: Path) -> None:
    with (
        registry.file_lock(tmp_path),
        pytest.raises(GanpipeError, match=r"registry\.lock"),
        registry.file_lock(tmp_path, seconds=0.1),
    ):
        pass


def test_a_version_comes_back_byte_for_byte(checkout: Checkout, tmp_path: Path) -> None:
    name = "resolved"
    checkout.train(seed=5, value=5.0)
    checkout.register(f"register.model={name}")
    ours = checkout.workspace / "model"
    for form in (f"models:/{name}@champion", f"models:/{name}/1"):
        folder = registry.resolve(checkout.uri, form, tmp_path / "models")
        for file in ("generator.safetensors", "generator.json"):
            assert (folder / file).read_bytes() == (ours / file).read_bytes()
    assert registry.resolve(checkout.uri, str(ours), tmp_path) == ours
    (folder / "generator.safetensors").write_bytes(b"damaged")
    assert registry.resolve(checkout.uri, form, tmp_path / "models") == folder
    assert sha256(folder / "generator.safetensors") == sha256(ours / "generator.safetensors")


def test_a_damaged_or_foreign_version_touches_no_folder(checkout: Checkout, tmp_path: Path) -> None:
    name, cache = "damaged", tmp_path / "state" / "models"
    checkout.train(seed=6, value=5.0)
    checkout.register(f"register.model={name}")
    client = tracking.connect(checkout.uri)
    source = Path(url2pathname(urlsplit(str(client.get_model_version(name, "1").source)).path))
    weights = source / "artifacts" / "generator" / "generator.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(b"damaged")
    with pytest.raises(GanpipeError, match="is damaged: its sha256 is not"):
        registry.resolve(checkout.uri, f"models:/{name}/1", cache)
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    weights.write_bytes(sound)
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "thesis.tex").write_text("years of work")
    client.set_model_version_tag(name, "1", "ganpipe.generator_sha256", "../../thesis")
    with pytest.raises(GanpipeError, match=r"generator_sha256='../../thesis', which is no sha256"):
        registry.resolve(checkout.uri, f"models:/{name}/1", cache)
    assert (thesis / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("model_uri", "message"),
    [
        ("models:/named@champio", "has no alias champio: versions 1; aliases @candidate, @champio"),
        ("models:/named/7", "has no version 7: versions 1"),
        ("models:/unknown/1", "there is no model unknown at .*: registered are .*named"),
        ("models:/named", "write models:/name@alias or models:/name/3"),
        ("no/such/folder", "is no folder with a generator.json"),
    ],
)
def test_a_model_that_does_not_exist_is_answered_with_what_does(
    checkout: Checkout, tmp_path: Path, model_uri: str, message: str
) -> None:
    if not checkout.aliases("named"):
        checkout.train(seed=1, value=1.0)
        checkout.register("register.model=named")
    with pytest.raises(GanpipeError, match=message):
        registry.resolve(checkout.uri, model_uri, tmp_path)


def test_a_version_loads_in_a_process_without_ganpipe_or_pickle(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.train(seed=1, value=30.0)
    registered = checkout.register("register.model=anywhere")
    script = f"""
import mlflow, numpy
mlflow.set_tracking_uri({checkout.uri!r})
model = mlflow.pyfunc.load_model("models:/anywhere@champion")
images = model.predict(None, params={{"n": 5, "seed": 7}})
assert images.shape == (5, 8, 8, 1) and images.dtype == numpy.uint8
assert (model.predict(None, params={{"n": 3, "seed": 7}}) == images[:3]).all()
import ganpipe
print(ganpipe.__file__)
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    found = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:mlflow", "-P", "-c", script],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert registered.alias == CHAMPION
    assert found.stdout.strip().endswith("code/ganpipe/__init__.py")
    assert found.stderr == ""


def test_registering_prints_nothing_and_leaves_nothing_in_the_folder(
    checkout: Checkout,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    checkout.train(seed=1, value=30.0)
    checkout.register("register.model=quiet")
    assert list(tmp_path.iterdir()) == []
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


@pytest.mark.integration
def test_a_server_and_its_database_serve_the_same_versions(
    tmp_path: Path,
    mlflow_server: Callable[[Path, int], AbstractContextManager[str]],
    free_port: int,
) -> None:
    checkout = Checkout(tmp_path)
    database = checkout.uri
    checkout.train(seed=1, value=30.0)
    with mlflow_server(checkout.state, free_port) as address:
        addresses.write(checkout.state, "", address)
        checkout.uri = tracking.tracking_uri(checkout.state)
        assert checkout.uri == address
        assert checkout.register("register.model=shared").alias == CHAMPION
        over_http = registry.resolve(address, "models:/shared@champion", tmp_path / "http")
        checkout.uri = database
        checkout.train(seed=2, value=20.0)
        assert checkout.register("register.model=shared").version == "2"
        registry.resolve(address, "models:/shared/2", tmp_path / "http")
    from_database = registry.resolve(database, "models:/shared/1", tmp_path / "database")
    assert from_database.name == over_http.name


@pytest.mark.integration
def test_a_remote_server_keeps_the_files_itself(
    tmp_path: Path,
    mlflow_server: Callable[[Path, int], AbstractContextManager[str]],
    free_port: int,
) -> None:
    checkout = Checkout(tmp_path / "here")
    checkout.train(seed=1, value=30.0)
    with mlflow_server(tmp_path / "there", free_port) as address:
        checkout.uri = address
        assert checkout.register("register.model=remote").alias == CHAMPION
        assert not (checkout.state / "mlflow").exists()
        folder = registry.resolve(address, "models:/remote@champion", tmp_path / "models")
    assert sha256(folder / "generator.json") == sha256(checkout.workspace / "model/generator.json")
