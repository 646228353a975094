"""train.state_url: a run goes on where its machine was lost, and no store ends or alters it."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest
import torch

from ganpipe.data.dataset import Dataset
from ganpipe.errors import GanpipeError
from ganpipe.params import TrainParams, validate
from ganpipe.training import snapshots, state
from ganpipe.training.courier import Courier
from ganpipe.training.loop import run_training
from ganpipe.training.state_store import StateStore
from tests.training.conftest import Bucket
from tests.training.runs import MODEL, TRAIN, delivered, make_dataset, start

Told = pytest.CaptureFixture[str]
SHORT = TRAIN.model_copy(
    update={"kimg": 0.16, "tick_kimg": 0.08, "snapshot_kimg": 0.08, "state_kimg": 0.04}
)
LONG = TRAIN.model_copy(update={"kimg": 4.0, "snapshot_kimg": 1.5, "snapshot_samples": 0})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    (folder / "reference").mkdir()
    return make_dataset(folder / "train")


def trained(
    root: Path, dataset: Dataset, train: TrainParams, url: str | Path = ""
) -> dict[str, bytes]:
    params = train.model_copy(update={"state_url": str(url)})
    outputs = {"model": root / "model", "checkpoints": root / "checkpoints"}
    root.mkdir(exist_ok=True)
    with chdir(root):  # no folder with a dvc.lock, which a run looks for
        run_training(dataset, MODEL, params, outputs, root / "scratch")
    return delivered(root)


@pytest.fixture(scope="module")
def expected(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return trained(tmp_path_factory.mktemp("expected"), dataset, SHORT)


def names(files: dict[str, bytes]) -> list[str]:
    """The descriptions, newest first."""
    return sorted((each for each in files if each.endswith(".json")), reverse=True)


def images(files: dict[str, bytes]) -> list[int]:
    """Images shown at the copied states, newest first."""
    return [state.images_of(Path(name)) for name in names(files)]


def test_the_last_two_states_lie_there_and_no_byte_is_another(
    tmp_path: Path, dataset: Dataset, bucket: Bucket, expected: dict[str, bytes]
) -> None:
    assert trained(tmp_path, dataset, SHORT, bucket.url) == expected
    files = bucket.files()
    newest, before = images(files)  # a slow store may not have been given each
    assert newest == 160
    kept = [f"state-{each:012d}" for each in (newest, before)]
    assert set(files) == {
        "writable",
        *(f"grids/grid-{each:012d}.png" for each in (0, 80, 160)),
        *(f"states/{stem}{suffix}" for stem in kept for suffix in state.SUFFIXES),
    }


def flip(bucket: Bucket, name: str) -> None:
    content = bytearray(bucket.files()[name])
    content[len(content) // 2] ^= 1
    bucket.put(name, bytes(content))


def cut(bucket: Bucket, name: str) -> None:
    content = bucket.files()[name]
    bucket.put(name, content[: len(content) // 2])


Harm = Callable[[Bucket, str], None]


@pytest.mark.parametrize(
    ("harm", "suffix"),
    [
        (flip, ".safetensors"),
        (flip, ".jsonl"),
        (flip, ".json"),
        (cut, ".safetensors"),
        (Bucket.remove, ".safetensors"),
        (Bucket.remove, ".json"),  # a copy that was not finished
        (Bucket.remove, "nothing"),
    ],
)
def test_the_newest_whole_copy_is_taken_on_another_machine(
    tmp_path: Path,
    dataset: Dataset,
    bucket: Bucket,
    expected: dict[str, bytes],
    capsys: Told,
    harm: Harm,
    suffix: str,
) -> None:
    trained(tmp_path / "lost", dataset, SHORT, bucket.url)
    newest, before = images(bucket.files())
    if suffix != "nothing":
        harm(bucket, f"states/state-{newest:012d}{suffix}")
    taken = newest if suffix == "nothing" else before
    capsys.readouterr()
    assert trained(tmp_path / "other", dataset, SHORT, bucket.url) == expected
    said = capsys.readouterr().out
    assert f"fetched the state at {taken / 1000:g} kimg from {bucket.url}/train-" in said
    assert f"resumed from the state at {taken / 1000:g} kimg" in said
    damaged = taken == before and (harm, suffix) != (Bucket.remove, ".json")
    assert (f"the state at {newest / 1000:g} kimg" in said and "is damaged" in said) == damaged
    (scratch,) = (tmp_path / "other" / "scratch").glob("train-*[0-9a-f]")
    shutil.rmtree(scratch)
    StateStore(bucket.url, scratch).fetch()
    again = state.find(scratch / "states")
    assert again is not None
    assert again.images == newest, "what was damaged has been replaced"


def test_when_every_copy_is_damaged_the_run_begins_anew(
    tmp_path: Path, dataset: Dataset, bucket: Bucket, expected: dict[str, bytes], capsys: Told
) -> None:
    trained(tmp_path / "lost", dataset, SHORT, bucket.url)
    states = images(bucket.files())
    flip(bucket, "grids/grid-000000000000.png")
    capsys.readouterr()
    assert trained(tmp_path / "other", dataset, SHORT, bucket.url) == expected
    said = capsys.readouterr().out
    assert said.count("is damaged: not used") == len(states)
    assert "resumed" not in said
    assert (
        bucket.files()["grids/grid-000000000000.png"]
        == expected["model/grids/grid-000000000000.png"]
    )


def wait_for_a_copy(bucket: Bucket) -> None:
    deadline = time.monotonic() + 120
    while not names(bucket.files()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_whose_folder_is_lost_ends_with_the_same_bytes(
    tmp_path: Path, dataset: Dataset, bucket: Bucket, number: signal.Signals
) -> None:
    folder = dataset.folder
    expected = trained(tmp_path / "whole", dataset, LONG)
    train = LONG.model_copy(update={"state_url": bucket.url})
    process = start(tmp_path / "lost", folder, train)
    wait_for_a_copy(bucket)
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(number)
    code = process.wait(timeout=60)
    (states,) = (tmp_path / "lost" / "scratch").glob("train-*/states")
    if number == signal.SIGTERM:
        assert code == 128 + signal.SIGTERM
        assert time.monotonic() - began < 10
        assert names(bucket.files())[0] == f"states/{max(states.glob('*.json')).name}"
    shutil.rmtree(tmp_path / "lost")
    assert start(tmp_path / "other", folder, train).wait(timeout=120) == 0
    assert delivered(tmp_path / "other") == expected


def test_a_newer_local_state_is_kept_and_an_older_one_overtaken(
    tmp_path: Path, dataset: Dataset, expected: dict[str, bytes], capsys: Told
) -> None:
    store = tmp_path / "store"
    trained(tmp_path / "one", dataset, SHORT, store)
    (scratch,) = (tmp_path / "one" / "scratch").glob("train-*[0-9a-f]")
    (scratch / "done").unlink()
    capsys.readouterr()
    assert trained(tmp_path / "one", dataset, SHORT, store) == expected
    assert "fetched" not in capsys.readouterr().out
    state.drop_later(scratch / "states", 0)
    (scratch / "done").unlink()
    assert trained(tmp_path / "one", dataset, SHORT, store) == expected
    assert "fetched the state at 0.16 kimg" in capsys.readouterr().out


def test_what_was_delivered_is_trained_anew_when_asked_anew(
    tmp_path: Path, dataset: Dataset, expected: dict[str, bytes], capsys: Told
) -> None:
    """`dvc repro --force` must not be answered from copies of the run before."""
    for _ in range(2):
        capsys.readouterr()
        assert trained(tmp_path / "one", dataset, SHORT, tmp_path / "store") == expected
    said = capsys.readouterr().out
    assert "fetched" not in said
    assert "resumed" not in said


def test_a_store_that_cannot_be_reached_is_told_before_training(
    tmp_path: Path,
    dataset: Dataset,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    free_port: int,
) -> None:
    with pytest.raises(GanpipeError, match=r"state_url: s3://no-such/x/.*the bucket must exist"):
        trained(tmp_path, dataset, SHORT, "s3://no-such/x")
    (tmp_path / "file").touch()
    with pytest.raises(GanpipeError, match=r"file.* cannot be written .*state_url=''"):
        trained(tmp_path, dataset, SHORT, tmp_path / "file")
    with pytest.raises(GanpipeError, match=r"train\.state_url: nfs://x.*cannot be"):
        trained(tmp_path, dataset, SHORT, "nfs://x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port}")
    began = time.monotonic()
    with pytest.raises(GanpipeError, match=r"cannot be written .*AWS_ENDPOINT_URL"):
        trained(tmp_path, dataset, SHORT, bucket.url)
    assert time.monotonic() - began < 60
    assert not (tmp_path / "model").exists()


def test_a_failing_copy_is_told_and_the_next_state_tried(
    tmp_path: Path, dataset: Dataset, bucket: Bucket, capsys: Told
) -> None:
    trained(tmp_path, dataset, SHORT)
    (scratch,) = (tmp_path / "scratch").glob("train-*[0-9a-f]")
    saved = state.find(scratch / "states")
    assert saved is not None
    store = StateStore(bucket.url, scratch)
    courier = Courier(store)
    bucket.delete()
    courier.send(saved)
    deadline = time.monotonic() + 60
    said = ""
    while "warning: the state at 0.16 kimg was not copied" not in said:
        said += capsys.readouterr().out
        assert time.monotonic() < deadline
        time.sleep(0.05)
    bucket.create()
    courier.send(saved)
    courier.end(60)
    assert "warning" not in capsys.readouterr().out
    assert names(bucket.files()) == ["states/state-000000000160.json"]


class Losing:
    """A quick FID; while the second is measured, the store is lost."""

    name = "fid_quick_losing"

    def __init__(self, store: Path) -> None:
        self.store, self.seen = store, 0

    def measure(self, generator: snapshots.Generator, stopped: Callable[[], bool]) -> float:
        del stopped
        self.seen += 1
        if self.seen == 2:
            self.store.rename(self.store.with_name("gone"))
            self.store.touch()
        return 1000.0 - generator.images


def test_a_store_that_is_lost_does_not_end_the_run(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    store = tmp_path / "store"
    (tmp_path / "reference").mkdir()
    monkeypatch.setattr(snapshots, "QuickFid", lambda *_: Losing(store))
    params = SHORT.model_copy(update={"state_url": str(store)})
    outputs = {name: tmp_path / name for name in ("model", "checkpoints")}
    places = {"reference": tmp_path / "reference"}
    run_training(dataset, MODEL, params, outputs, tmp_path / "scratch", **places)
    assert {"model/generator.safetensors", "checkpoints/state.json"} < set(delivered(tmp_path))
    said = capsys.readouterr().out
    assert "train: warning: the state at" in said
    assert "the next one will be tried" in said


class Hanging(StateStore):
    """A store that takes what it is given and never says so."""

    def copy(self, saved: state.SavedState) -> None:
        del saved
        threading.Event().wait()


def test_a_store_that_hangs_is_not_waited_for(tmp_path: Path, capsys: Told) -> None:
    courier = Courier(Hanging(str(tmp_path), Path("train-0")))
    courier.send(state.SavedState(1, tmp_path, tmp_path))
    began = time.monotonic()
    courier.end(0.2)
    assert time.monotonic() - began < 2
    assert "not copied" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("url", "words"),
    [("states", "absolute path"), ("s3://me:secret@bucket/x", "AWS_SECRET_ACCESS_KEY")],
)
def test_a_place_that_is_no_place_of_its_own_is_refused(url: str, words: str) -> None:
    with pytest.raises(GanpipeError, match=words) as raised:
        validate({"train": {"state_url": url}})
    assert "secret" not in str(raised.value)
