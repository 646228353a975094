"""Bad input: a message with the way out, exit code 2, no traceback, nothing half-written."""

import shutil
import socket

import pytest
from PIL import Image

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def checkout(tmp_path_factory, checkout_of_this_code):
    return checkout_of_this_code(tmp_path_factory.mktemp("bad") / "checkout")


def _refused(done, *words):
    screen = done.stdout + done.stderr
    assert done.returncode == 2, screen
    assert "Traceback" not in screen
    message = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    for word in words:
        assert word in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) < 25
    return message


def _folder(tmp_path, **files):
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_bytes(content)
    return folder


def _run_on(checkout, folder, *assignments):
    sets = ["data.source=folder", f"data.path={folder}", *assignments]
    return checkout.call(
        "ganpipe", "run", *(part for one in sets for part in ("--set", one)), check=False
    )


def test_a_typo_in_a_parameter(checkout):
    done = checkout.call("ganpipe", "run", "--set", "train.kimgg=3", check=False)
    _refused(done, "train.kimgg", "did you mean kimg")


def test_a_typo_in_params_yaml(checkout, tmp_path):
    clone = checkout.clone(tmp_path / "clone")
    with (clone.folder / "params.yaml").open("a") as file:
        file.write("trian: {}\n")
    _refused(clone.call("ganpipe", "run", check=False), "params.yaml", "trian", "train")


def test_a_resolution_the_network_cannot_make(checkout):
    done = checkout.call("ganpipe", "run", "--set", "data.resolution=30", check=False)
    _refused(done, "30x30", "[28, 28], [32, 32]", "data.resolution")


def test_an_empty_folder(checkout, tmp_path):
    folder = _folder(tmp_path)
    _refused(_run_on(checkout, folder), str(folder), "holds no files")


def test_a_missing_folder(checkout, tmp_path):
    _refused(_run_on(checkout, tmp_path / "nowhere"), "nowhere", "does not exist")


def test_a_folder_with_no_image(checkout, tmp_path):
    cut = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 50).save(cut)
    folder = _folder(tmp_path, notes_txt=b"words", cut_jpg=cut.read_bytes()[:900])
    _refused(_run_on(checkout, folder), "none of the 2 files", "1 not-an-image", "1 truncated")


def test_one_image(checkout, tmp_path):
    folder = _folder(tmp_path)
    Image.new("L", (16, 16)).save(folder / "only.png")
    _refused(_run_on(checkout, folder), "1 of 1 files", "data.min_images=4")


def test_fewer_images_than_a_batch(checkout, tmp_path):
    folder = _folder(tmp_path)
    for number in range(40):
        Image.effect_noise((16, 16), number + 1).save(folder / f"{number}.png")
    done = _run_on(checkout, folder, "evaluate.samples=8", "data.test_fraction=0.2")
    _refused(done, "train.batch=64")


def test_missing_files_of_a_known_data_set(checkout, tmp_path):
    folder = _folder(tmp_path)
    sets = ["--set", "data.source=fashion-mnist", "--set", f"data.path={folder}"]
    done = checkout.call("ganpipe", "run", *sets, check=False)
    _refused(done, "train-images-idx3-ubyte.gz", "put the four files there")


def test_no_repository(checkout, tmp_path):
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(checkout.folder / name, tmp_path / name)
    plain = type(checkout)(tmp_path)
    _refused(plain.call("ganpipe", "run", check=False), "git")


def test_no_git(checkout, tmp_path):
    environment = {"PATH": str(tmp_path)}
    program = shutil.which("ganpipe", path=checkout.environment()["PATH"])
    _refused(checkout.call(program, "run", check=False, **environment), "git", "install")


@pytest.mark.parametrize(
    ("variable", "path"), [("MLFLOW_TRACKING_URI", ""), ("PREFECT_API_URL", "/api")]
)
def test_a_server_that_does_not_answer(checkout, free_port, variable, path):
    address = f"http://127.0.0.1:{free_port}{path}"
    done = checkout.call("ganpipe", "run", check=False, **{variable: address})
    _refused(done, address)


@pytest.mark.parametrize("option", ["--prefect-port", "--mlflow-port"])
def test_a_port_in_use(checkout, option):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        _refused(checkout.call("ganpipe", "ui", option, port, check=False), port)


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ("models:/nobody@champion", "nobody"),
        ("models:/ganpipe@best", "ganpipe run"),
        ("/nowhere", "/now"),
    ],
)
def test_a_model_that_is_not_there(checkout, tmp_path, model, word):
    out = tmp_path / "out"
    done = checkout.call("ganpipe", "generate", "--model", model, "--out", str(out), check=False)
    _refused(done, word)
    assert not out.exists()


def test_a_stage_that_is_none(checkout):
    _refused(checkout.call("ganpipe", "stage", "trian", check=False), "trian", "preprocess")


def test_a_write_that_fails_half_way_leaves_nothing(checkout, tmp_path):
    """A limit on file size stops the writing of a shard as a full disk would."""
    clone = checkout.clone(tmp_path / "clone")
    done = clone.call("sh", "-c", "ulimit -f 100; ganpipe stage ingest", check=False)
    _refused(done, "space")
    assert [path.name for path in (clone.folder / "data").iterdir()] == ["source.json"]


def test_after_all_this_nothing_is_half_written(checkout):
    """Runs last in this file: what failed above left no registered model and no outputs."""
    assert not list((checkout.folder / ".ganpipe").rglob("*.partial"))
    assert checkout.git("status", "--porcelain") == ""
